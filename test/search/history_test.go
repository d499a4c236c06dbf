package search

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
)

// kind is what a piece of work is for.
type kind string

const (
	publishing   kind = "publish"
	unpublishing kind = "unpublish"
	working      kind = "work"
)

// operation is a call of external-attacher, or a worker's look at one attachment.
type operation struct {
	kind    kind
	process *process
	volume  *volume
	node    string
	// begun and ended are steps as the caller sees them; ended is far away for a call that nobody knows the outcome of.
	begun, ended int
	ok           bool
	// takeable are the holders that it might take the volume from.
	takeable []string
	// others are the attachments that let hosts in beside the holders, as the process knew when it began.
	others []string
	// wrote is the disk with the last record that it made, or none.
	wrote disk
}

// history is what was asked for, and by which actors it is being done.
type history struct {
	e *engine
	// ended is told of every operation whose outcome is known.
	ended      func(*operation)
	operations []*operation
	byActor    map[*actor]*operation
}

func newHistory(e *engine) *history { return &history{e: e, byActor: map[*actor]*operation{}} }

func (h *history) begin(p *process, kind kind, v *volume, node string) *operation {
	op := &operation{kind: kind, process: p, volume: v, node: node, begun: h.e.steps, ended: math.MaxInt}
	if d, found := p.w.storage.disk(v); found {
		op.others = p.cache.othersLetIn(v, d)
	}
	h.operations = append(h.operations, op)
	return op
}

// runs notes that the current actor does the operation.
func (h *history) runs(op *operation) { h.byActor[h.e.current] = op }

// works notes that the current actor, a worker, begins anew.
func (h *history) works(p *process) {
	h.byActor[h.e.current] = &operation{kind: working, process: p, begun: h.e.steps}
}

// sent notes that a line belongs to the operation that sent it.
func (h *history) sent(sender, line *actor) { h.byActor[line] = h.byActor[sender] }

func (h *history) end(op *operation, err error) {
	op.ended, op.ok = h.e.steps, err == nil
	h.ended(op)
}

// current is the operation that the current actor does, or nil.
func (h *history) current() *operation { return h.byActor[h.e.current] }

// linearizable checks the calls about one volume against the model below. Calls that failed may have been done or not, at any
// time after they began.
func (h *history) linearizable(v *volume) error {
	var operations []porcupine.Operation
	for i, op := range h.operations {
		if op.volume != v || op.kind == working {
			continue
		}
		ended := int64(math.MaxInt64)
		if op.ok {
			ended = int64(op.ended)
		}
		operations = append(operations, porcupine.Operation{ClientId: i, Input: op, Call: int64(op.begun), Output: op.ok, Return: ended})
	}
	model := holding(v)
	if !porcupine.CheckOperations(model.ToModel(), operations) {
		var text strings.Builder
		for _, op := range operations {
			o := op.Input.(*operation)
			fmt.Fprintf(&text, "\n  %d..%d %s %s ok=%t takeable=%v", o.begun, o.ended, o.kind, o.node, o.ok, o.takeable)
		}
		return fmt.Errorf("the history of %s fits no order:%s", v.pv, text.String())
	}
	return nil
}

// holders are the one or two that hold a volume, in order; the second is empty where there is none.
type holders [2]string

// holding is what publishing and unpublishing mean: for a volume of one node at a time, and for one that a second may join.
func holding(v *volume) porcupine.NondeterministicModel {
	return porcupine.NondeterministicModel{
		Init: func() []any { return []any{holders{}} },
		Step: func(state, input, output any) []any {
			before, op := state.(holders), input.(*operation)
			var after []any
			if !output.(bool) {
				after = append(after, before)
			}
			isTakeable := func(holder string) bool { return holder == "" || slices.Contains(op.takeable, holder) }
			if op.kind == unpublishing {
				after = append(after, before.without(op.node))
				for _, holder := range before {
					if sameName(holder, op.node) && isTakeable(holder) {
						after = append(after, before.without(holder))
					}
				}
				return after
			}
			if slices.Contains(before[:], op.node) {
				return append(after, before)
			}
			if isTakeable(before[0]) && isTakeable(before[1]) {
				after = append(after, holders{op.node})
			}
			if v.shared && before[0] != "" && before[1] == "" {
				after = append(after, holders{min(before[0], op.node), max(before[0], op.node)})
			}
			return after
		},
		Equal: func(a, b any) bool { return a.(holders) == b.(holders) },
	}
}

// without gives the holders after one left.
func (h holders) without(leaver string) holders {
	switch leaver {
	case h[0]:
		return holders{h[1]}
	case h[1]:
		return holders{h[0]}
	default:
		return h
	}
}

func sameName(a, b string) bool {
	first, err1 := attach.ParseNodeID(a)
	second, err2 := attach.ParseNodeID(b)
	return err1 == nil && err2 == nil && first.Name == second.Name
}
