// Package requests makes good CSI requests bad, one field at a time, for the tests of both services.
package requests

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TooLong is longer than any text that a request may carry, in bytes.
const TooLong = 1 << 20

// Call is one RPC with a request that is good.
type Call struct {
	Good proto.Message
	Do   func(context.Context, proto.Message) error
}

// CallOf returns the call of an RPC with a good request.
func CallOf[Q proto.Message, A any](good Q, rpc func(context.Context, Q) (A, error)) Call {
	return Call{Good: good, Do: func(ctx context.Context, request proto.Message) error {
		_, err := rpc(ctx, request.(Q)) //nolint:forcetypeassert // a clone of good
		return err
	}}
}

// Field returns the field of this name, or nil if the request has none.
func Field(request proto.Message, name string) protoreflect.FieldDescriptor {
	return request.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
}

// SetText returns a function that gives a text field another value.
func SetText(name, value string) func(proto.Message) {
	return func(request proto.Message) {
		request.ProtoReflect().Set(Field(request, name), protoreflect.ValueOfString(value))
	}
}

// Set returns a function that gives a message field another value.
func Set(name string, value proto.Message) func(proto.Message) {
	return func(request proto.Message) {
		request.ProtoReflect().Set(Field(request, name), protoreflect.ValueOfMessage(value.ProtoReflect()))
	}
}

// Clear returns a function that empties a field.
func Clear(name string) func(proto.Message) {
	return func(request proto.Message) { request.ProtoReflect().Clear(Field(request, name)) }
}

// Writer is the capability of a filesystem that one node writes.
func Writer(filesystem string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: filesystem, MountFlags: flags}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}
