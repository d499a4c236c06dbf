package search

import (
	"context"
	"errors"
	"strings"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// wire is a controller's way to the appliance. Lines of two wires, and of one, interleave statement by statement.
type wire struct {
	storage *storage
	// alter changes what is sent; a test that takes a protection away does so here.
	alter func(line string) string
}

var (
	errNoWay = errors.New("connection refused")
	errCut   = errors.New("the line was cut short")
)

// sending is a line on its way, and what becomes of it. It goes on whatever becomes of who sent it.
type sending struct {
	storage *storage
	command string
	fate    fate
	output  string
	failed  error
	ended   bool
}

// Exec sends a line, and waits for its reply for as long as its fate and the context let it.
func (w *wire) Exec(ctx context.Context, command string) (string, error) {
	s := w.storage
	s.e.pause()
	fate := s.fateOf(command)
	if ctx.Err() != nil || fate.unsent || s.appliance.Phase() == appliance.Down {
		return "", errors.Join(rds.ErrUnreachable, errNoWay)
	}
	line := &sending{storage: s, command: w.alter(command), fate: fate}
	for range 1 + fate.echoes {
		s.launch(line) //nolint:contextcheck // what was sent goes on, whatever becomes of who sent it
	}
	s.e.await(time.Time{}, func() bool { return line.ended && !fate.hung || fate.lost || ctx.Err() != nil })
	if !line.ended || fate.hung || fate.lost || line.failed != nil {
		return "", rds.ErrIncomplete
	}
	return fate.reply(line.output), nil
}

// launch carries a line out beside everything else.
func (s *storage) launch(line *sending) {
	sender, boots := s.e.current, s.boots
	adds := strings.Count(line.command, "/disk add ")
	s.adding += adds
	s.sent(sender, s.e.spawn("line of "+sender.name, func() {
		defer func() { s.adding -= adds }()
		if line.fate.stuck > 0 {
			s.e.sleep(line.fate.stuck)
		}
		if s.boots != boots {
			line.failed, line.ended = errCut, true
			return
		}
		s.running++
		defer func() { s.running--; line.ended = true }()
		line.run()
		s.touch()
		s.after()
	}))
}

func (l *sending) run() {
	s := l.storage
	if l.fate.ignored {
		return
	}
	if l.fate.afflicted {
		cure := s.appliance.Afflict(l.fate.condition)
		defer func() { cure(); s.touch() }()
	}
	statements := 0
	hooks := &appliance.Hooks{Mishap: l.fate.mishap, BeforeStatement: func() error {
		if s.touch(); statements > 0 {
			s.after()
		}
		s.e.pause()
		if statements++; l.fate.between != nil && statements == l.fate.before {
			return l.fate.between()
		}
		return nil
	}}
	l.output, l.failed = s.appliance.Exec(context.Background(), l.fate.policies, l.command, hooks)
}

// Files are left to the console.
func (w *wire) ListFiles(context.Context, string) ([]string, error) { return nil, rds.ErrNoFiles }

func (w *wire) MakeDirectory(context.Context, string) error { return rds.ErrNoFiles }

func (w *wire) WriteFile(context.Context, string, []byte) error { return rds.ErrNoFiles }

func (w *wire) ReadFile(context.Context, string, int64) ([]byte, error) { return nil, rds.ErrNoFiles }

func (w *wire) String() string { return "the model" }

func (w *wire) Trust() string { return "" }

func (w *wire) Close() {}
