package faults

import (
	"context"
	"errors"
)

// mutation is an operation that changes the appliance.
type mutation struct {
	name string
	// before brings about what the operation starts from.
	before func(ctx context.Context, w *world) error
	act    func(ctx context.Context, w *world) error
	// wanted tells whether the appliance is as a successful operation leaves it.
	wanted func(now found) bool
	// exports says that the operation answers for the export. Others leave it as they find it.
	exports bool
	// restarted says that the driver restarts before it acts, and has seen nothing yet.
	restarted bool
}

func mutations() []mutation {
	nothing := func(context.Context, *world) error { return nil }
	prepared := func(ctx context.Context, w *world) error { return w.prepare(ctx) }
	created := func(ctx context.Context, w *world) error { return w.create(ctx) }
	heldByA := func(ctx context.Context, w *world) error { return errors.Join(w.create(ctx), w.publish(ctx, nodeA)) }
	exportedTo := func(node string) func(found) bool {
		return func(now found) bool {
			return len(now.disks) == 1 && now.disks[0].Exported && now.record.HeldBy(node) && len(now.record.Holding.Holders) == 1
		}
	}
	free := func(now found) bool { return len(now.disks) == 1 && !now.disks[0].Exported && !now.record.Held() }
	gone := func(now found) bool { return len(now.disks) == 0 && !now.file }
	return []mutation{
		{"create", nothing, func(ctx context.Context, w *world) error { return w.create(ctx) }, free, true, false},
		{"create the second one", prepared, func(ctx context.Context, w *world) error { return w.create(ctx) }, free, true, false},
		{"publish", created, func(ctx context.Context, w *world) error { return w.publish(ctx, nodeA) }, exportedTo(nodeA), true, false},
		{"publish again", heldByA, func(ctx context.Context, w *world) error { return w.publish(ctx, nodeA) }, exportedTo(nodeA), false, false},
		{"hand off", heldByA, func(ctx context.Context, w *world) error { return w.publish(ctx, nodeB) }, exportedTo(nodeB), true, false},
		{"unpublish", heldByA, func(ctx context.Context, w *world) error { return w.unpublish(ctx, nodeA) }, free, true, false},
		{"unpublish after a restart", heldByA, func(ctx context.Context, w *world) error { return w.unpublish(ctx, nodeA) }, free, true, true},
		{"unpublish another", heldByA, func(ctx context.Context, w *world) error { return w.unpublish(ctx, nodeB) }, exportedTo(nodeA), false, false},
		{"expand", heldByA, func(ctx context.Context, w *world) error { return w.expand(ctx) }, exportedTo(nodeA), false, false},
		{"delete", created, func(ctx context.Context, w *world) error { return w.remove(ctx) }, gone, true, false},
	}
}
