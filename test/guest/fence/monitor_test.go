package fence

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// monitor is the other machine's QEMU. It stops that machine between two instructions, with its clock: after waking, its
// kernel believes that no time has passed. No timer makes it doubt its connection before it sends what it has queued, as it
// would after SIGSTOP, when the clock jumps. That is the worst that the new holder can be up against: a virtual machine that
// was paused, or moved to another host.
type monitor struct {
	port    *os.File
	answers *json.Decoder
}

func openMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{}
	world.Eventually(t, "the other machine's monitor answers", func() bool {
		port, err := os.OpenFile(os.Getenv("RDS_CSI_GUEST_MONITOR"), os.O_RDWR, 0)
		if err != nil {
			return false
		}
		*m = monitor{port: port, answers: json.NewDecoder(port)}
		if _, err := m.execute("qmp_capabilities", nil); err == nil || errors.As(err, new(refusal)) { // it was said before
			return true
		}
		_ = port.Close() // QEMU isn't there yet
		return false
	})
	t.Cleanup(func() { _ = m.port.Close() })
	return m
}

// refusal is QEMU's answer to a command that it doesn't execute.
type refusal struct {
	Description string `json:"desc"`
}

func (r refusal) Error() string { return r.Description }

// execute has QEMU do something, and waits until it has.
func (m *monitor) execute(command string, arguments map[string]string) (json.RawMessage, error) {
	order := map[string]any{"execute": command}
	if arguments != nil {
		order["arguments"] = arguments
	}
	line, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	if err := m.port.SetDeadline(time.Now().Add(world.Patience)); err != nil {
		return nil, err
	}
	if _, err := m.port.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	for {
		var answer struct { // or a greeting, or an event
			Return json.RawMessage `json:"return"`
			Error  *refusal        `json:"error"`
		}
		err := m.answers.Decode(&answer)
		switch {
		case err != nil:
			return nil, err
		case answer.Error != nil:
			return nil, *answer.Error
		case answer.Return != nil:
			return answer.Return, nil
		}
	}
}

// must is execute in a test that can't go on without.
func (m *monitor) must(t *testing.T, command string, arguments map[string]string) json.RawMessage {
	t.Helper()
	answer, err := m.execute(command, arguments)
	if err != nil {
		t.Fatalf("the other machine's monitor: %s: %v", command, err)
	}
	return answer
}

// freeze stops the other machine, and thaw has it go on.
func (m *monitor) freeze(t *testing.T) {
	t.Helper()
	m.must(t, "stop", nil)
}

func (m *monitor) thaw(t *testing.T) {
	t.Helper()
	m.must(t, "cont", nil)
}

// words reads the other machine's memory, which it can't be asked for while it stands still.
func (m *monitor) words(t *testing.T, address uint64, count int) []uint64 {
	t.Helper()
	answer := m.must(t, "human-monitor-command", map[string]string{"command-line": fmt.Sprintf("xp /%dgx %#x", count, address)})
	var text string
	if err := json.Unmarshal(answer, &text); err != nil {
		t.Fatalf("the other machine's memory: %v", err)
	}
	var words []uint64
	for field := range strings.FieldsSeq(text) {
		if word, err := strconv.ParseUint(field, 0, 64); err == nil && strings.HasPrefix(field, "0x") {
			words = append(words, word)
		}
	}
	if len(words) != count {
		t.Fatalf("the other machine's memory: %d words wanted, got %q", count, text)
	}
	return words
}
