package rds

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// The check of an appliance tries a line of maxLineLength. No operation on a volume may need a longer one, however long its
// names are.
func TestTheLongestLine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	longest, name := 0, ""
	try := func(operation string, id VolumeID, build func(*command)) {
		cmd := newCommand(KindPublish)
		build(cmd)
		cmd.showState(id)
		line, err := cmd.line()
		if err != nil {
			t.Fatalf("%s of %s: %v", operation, id, err)
		}
		if len(line) > longest {
			longest, name = len(line), operation
		}
	}
	for range 200 {
		cluster := strings.Repeat("c", 1+random.IntN(64))
		pool := strings.Repeat("p", 1+random.IntN(128-len(cluster)-len("/d/")-len("/")-maxSlotLength))
		directory := strings.Repeat("d", max(1, 128-len(cluster)-len(pool)-len("//")-len("/")-maxSlotLength))
		id, err := NewVolumeID(pool, directory, cluster, "v")
		if err != nil {
			t.Fatalf("%d, %d, %d bytes: %v", len(pool), len(directory), len(cluster), err)
		}
		held := NewRecord(id, "v", strings.Repeat("p", 63), "n/c").Publish(strings.Repeat("n", 200), "mount", "single-node-writer", false)
		full, err := held.encodePadded()
		if err != nil {
			t.Fatal(err)
		}
		change := recordSwitch{seen: Disk{ID: id, AllowedHost: "x", comment: full}, next: held, comment: full, host: strings.Repeat("h", 223), fence: true}
		try("publish", id, func(cmd *command) { cmd.act(change.statements(cmd)...) })
		change.fence, change.size = false, 1<<62
		try("expand", id, func(cmd *command) { cmd.act(change.statements(cmd)...) })
		attempt := creation{id: id, size: Size{Bytes: 1 << 62, Limit: 1 << 62}, token: held.Token, nqn: held.SubsystemNQN(id), comment: full, port: 65535}
		try("create", id, func(cmd *command) { cmd.act(attempt.statement(cmd)) })
		try("delete", id, func(cmd *command) {
			cmd.act("/disk remove [find where "+cmd.carries(id.Slot(), full)+"]", removeFileStatement(cmd, id))
		})
	}
	t.Logf("the longest is of %s, %d bytes of %d", name, longest, maxLineLength)
}
