package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// record is one started process. A process number is used again after its process ended, so the start time, in clock
// ticks since the machine's boot, is what tells whether the number still means the same process.
type record struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started uint64 `json:"started"`
}

var errNoProcess = errors.New("none of this name was started in this run")

// ledger is the file that lists a run's processes, one JSON object a line in the order in which they were started.
type ledger string

func (l ledger) reset() error {
	if err := os.WriteFile(string(l), nil, 0o600); err != nil {
		return fmt.Errorf("begin the list of processes: %w", err)
	}
	return nil
}

func (l ledger) add(r record) (err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("list process %s: %w", r.Name, err)
	}
	file, err := os.OpenFile(string(l), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("list process %s: %w", r.Name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("list process %s: %w", r.Name, err)
	}
	return nil
}

func (l ledger) read() ([]record, error) {
	content, err := os.ReadFile(string(l))
	if err != nil {
		return nil, fmt.Errorf("read the list of processes: %w", err)
	}
	var records []record
	for line := range bytes.Lines(content) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", l, line, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// last returns the process of this name that was started last: one that was started again stands there more than once.
func (l ledger) last(name string) (record, error) {
	records, err := l.read()
	if err != nil {
		return record{}, err
	}
	for _, r := range slices.Backward(records) {
		if r.Name == name {
			return r, nil
		}
	}
	return record{}, fmt.Errorf("process %s: %w", name, errNoProcess)
}

// living names those that still run.
func living(records []record) []string {
	var names []string
	for _, r := range records {
		if r.alive() {
			names = append(names, fmt.Sprintf("%s pid %d", r.Name, r.PID))
		}
	}
	return names
}

// alive reports whether the process that was started still runs. One that ended but wasn't waited for doesn't.
func (r record) alive() bool {
	started, state, err := processStat(r.PID)
	return err == nil && started == r.Started && state != "Z" && state != "X"
}

// processStat returns a process' start time in clock ticks since boot, and its one-letter state.
func processStat(pid int) (uint64, string, error) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The second field is the program's name in parentheses and may itself contain anything.
	_, rest, found := strings.Cut(string(content[bytes.LastIndexByte(content, ')')+1:]), " ")
	fields := strings.Fields(rest)
	const startTime = 22 - 3 // counted from the third field, the state
	if !found || len(fields) <= startTime {
		return 0, "", fmt.Errorf("look at process %d: /proc shows %q", pid, content)
	}
	started, err := strconv.ParseUint(fields[startTime], 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	return started, fields[0], nil
}
