package appliance_test

import (
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

const addSubvolume = `/disk/btrfs/subvolume/add fs=raid10 name=documents`

func onBtrfs(o *appliance.Options) { o.Pools[0].FS = "btrfs" }

func TestASnapshotKeepsWhatItsParentLoses(t *testing.T) {
	b := open(t, onBtrfs)
	b.want(t, addSubvolume, "")
	b.want(t, `/file add name="raid10/documents/letter.txt" type=file`, "")
	b.want(t, `/disk/btrfs/subvolume/add read-only=yes parent=documents fs=raid10 name=documents-1`, "")
	b.want(t, `/file remove [find where name="raid10/documents/letter.txt"]`, "")
	b.want(t, `:put [:len [/file find where name="raid10/documents-1/letter.txt"]]`, "1\r\n")
	b.want(t, `:put [/disk/btrfs/subvolume/get [find where name=documents-1] parent]`, "documents\r\n")
	b.want(t, `/disk/btrfs/subvolume/remove [find where name=documents]`, "")
	b.want(t, `:put [:len [/disk/btrfs/subvolume/find]]`, "1\r\n")
	b.want(t, `:put [:len [/file find where name="raid10/documents"]]`, "0\r\n")
}

func TestSubvolumesNeedBtrfsAndTheirParent(t *testing.T) {
	xfs := open(t, nil)
	if out := xfs.run(t, addSubvolume); out == "" {
		t.Error("a subvolume was made on xfs")
	}
	b := open(t, onBtrfs)
	b.run(t, addSubvolume)
	if out := b.run(t, addSubvolume); out == "" {
		t.Error("a subvolume was made twice")
	}
	if out := b.run(t, `/disk/btrfs/subvolume/add fs=raid10 name=x parent=nosuch`); out == "" {
		t.Error("a snapshot was made of nothing")
	}
}

func TestSubvolumesCameWith718(t *testing.T) {
	b := open(t, func(o *appliance.Options) { onBtrfs(o); o.Version = "7.17" })
	if out := b.run(t, addSubvolume); out == "" {
		t.Error("7.17 knows subvolumes")
	}
}
