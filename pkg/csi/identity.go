package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DriverName is the name under which Kubernetes knows this driver.
const DriverName = "rds.csi.srvlab.io"

// Identity is the CSI identity service. It is safe for concurrent use.
type Identity struct {
	csi.UnimplementedIdentityServer
	version      string
	ready        func() bool
	capabilities []*csi.PluginCapability
}

// NewControllerIdentity returns the identity of a process with the controller service. ready reports whether the
// process can serve calls yet, and is called concurrently. expansion is when volumes can grow.
func NewControllerIdentity(version string, ready func() bool, expansion csi.PluginCapability_VolumeExpansion_Type) *Identity {
	return &Identity{version: version, ready: ready, capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: expansion}}},
	}}
}

// NewNodeIdentity returns the identity of a process with the node service, which is always ready.
func NewNodeIdentity(version string) *Identity {
	return &Identity{version: version, ready: func() bool { return true }}
}

// GetPluginInfo returns the driver's name and version.
func (i *Identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: DriverName, VendorVersion: i.version}, nil
}

// GetPluginCapabilities returns whether this process has the controller service, and when volumes can grow.
func (i *Identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: i.capabilities}, nil
}

// Probe returns whether the process can serve calls. It is ready even if the appliance is away: calls that need the
// appliance return an error then, and a restart would not help.
func (i *Identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(i.ready())}, nil
}
