package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DriverName is the name under which Kubernetes knows this driver.
const DriverName = "rds.csi.srvlab.io"

// Identity is the CSI identity service.
type Identity struct {
	csi.UnimplementedIdentityServer
	version      string
	ready        func() bool
	capabilities []*csi.PluginCapability
}

// NewControllerIdentity identifies a process that offers the controller service. ready reports whether it can serve yet,
// and expansion is when volumes grow.
func NewControllerIdentity(version string, ready func() bool, expansion csi.PluginCapability_VolumeExpansion_Type) *Identity {
	return &Identity{version: version, ready: ready, capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: expansion}}},
	}}
}

// NewNodeIdentity identifies a process that offers the node service.
func NewNodeIdentity(version string) *Identity {
	return &Identity{version: version, ready: func() bool { return true }}
}

// GetPluginInfo gives name and version.
func (i *Identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: DriverName, VendorVersion: i.version}, nil
}

// GetPluginCapabilities says whether this process has the controller service, and when volumes grow.
func (i *Identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: i.capabilities}, nil
}

// Probe says whether calls can be served. The appliance being away doesn't make the process unready: calls that need it
// say so themselves, and restarting would not bring it back.
func (i *Identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(i.ready())}, nil
}
