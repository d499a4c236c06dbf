package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/internal/failure"
	"git.srvlab.io/whiskey/rds-csi-driver/test/requests"
)

// Eight drivers lost data by formatting after a probe that had failed. Whatever isn't proven blank stays as it is.
func TestOnlyProvenBlankIsFormatted(t *testing.T) {
	const size, edgeLength = 4 << 20, 1 << 20
	type attempt struct {
		dataAt int64 // -1: none
		blkid  *answer
		wipefs *answer
	}
	for name, c := range map[string]attempt{
		"data in the first byte":             {dataAt: 0},
		"data at the end of the first MiB":   {dataAt: edgeLength - 1},
		"data at the start of the last MiB":  {dataAt: size - edgeLength},
		"data in the last byte":              {dataAt: size - 1},
		"blkid says exit 2 and a complaint":  {dataAt: -1, blkid: &answer{"error: /dev/x: Input/output error", 2}},
		"blkid is torn between two answers":  {dataAt: -1, blkid: &answer{"", 8}},
		"blkid fails":                        {dataAt: -1, blkid: &answer{"usage", 4}},
		"blkid is missing":                   {dataAt: -1, blkid: &answer{"not found", 127}},
		"blkid succeeds and says nothing":    {dataAt: -1, blkid: &answer{"", 0}},
		"blkid is silent about several":      {dataAt: -1, wipefs: &answer{"ext4\niso9660\n", 0}},
		"wipefs fails":                       {dataAt: -1, wipefs: &answer{"", 1}},
		"wipefs is missing":                  {dataAt: -1, wipefs: &answer{"not found", 127}},
		"a partition table":                  {dataAt: -1, blkid: &answer{"DEVNAME=/dev/x\nPTTYPE=dos\n", 0}},
		"another filesystem":                 {dataAt: -1, blkid: &answer{"TYPE=btrfs\n", 0}},
		"the other filesystem that we make":  {dataAt: -1, blkid: &answer{"TYPE=xfs\n", 0}},
		"encryption":                         {dataAt: -1, blkid: &answer{"TYPE=crypto_LUKS\n", 0}},
		"a type that only begins like ours":  {dataAt: -1, blkid: &answer{"TYPE=ext4dev\n", 0}},
		"a field that only ends like a type": {dataAt: -1, blkid: &answer{"SEC_TYPE=ext4\n", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			image := filepath.Join(w.folder, "image")
			if err := os.WriteFile(image, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.dataAt >= 0 {
				if err := writeAt(image, c.dataAt, "x"); err != nil {
					t.Fatal(err)
				}
			}
			w.commands.answers = map[string]answer{}
			for command, override := range map[string]*answer{"blkid": c.blkid, "wipefs": c.wipefs} {
				if override != nil {
					w.commands.answers[command] = *override
				}
			}
			_, err := w.NodeStageVolume(t.Context(), w.stageRequest(t, epochA))
			if got := failure.Code(err); got != codes.FailedPrecondition {
				t.Errorf("stage: %v (%v), want FailedPrecondition", got, err)
			}
			if w.commands.count("mkfs") != 0 || len(w.mounts.table) != 0 {
				t.Errorf("commands %v, mounts %v, want neither mkfs nor a mount", w.commands.ran, w.mounts.table)
			}
		})
	}
}

// Nothing may be forced: without force, mkfs itself refuses a device that is in use, and mkfs.xfs one that has a
// filesystem.
func TestFormatForcesNothing(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		w := newNodeWorld(t)
		request := w.stageRequest(t, epochA)
		request.VolumeCapability = requests.Writer(kind)
		if _, err := w.NodeStageVolume(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		for _, command := range w.commands.ran {
			for argument := range strings.FieldsSeq(command) {
				if argument == "-F" || argument == "-f" {
					t.Errorf("%s is forced", command)
				}
			}
		}
	}
}
