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
	version    string
	ready      func() bool
	controller bool
}

// NewControllerIdentity identifies a process that offers the controller service; ready tells whether it can serve yet.
func NewControllerIdentity(version string, ready func() bool) *Identity {
	return &Identity{version: version, ready: ready, controller: true}
}

// NewNodeIdentity identifies a process that offers the node service.
func NewNodeIdentity(version string) *Identity {
	return &Identity{version: version, ready: func() bool { return true }}
}

// GetPluginInfo gives name and version.
func (i *Identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: DriverName, VendorVersion: i.version}, nil
}

// GetPluginCapabilities says whether this process has the controller service.
func (i *Identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	response := &csi.GetPluginCapabilitiesResponse{}
	if i.controller {
		response.Capabilities = []*csi.PluginCapability{{Type: &csi.PluginCapability_Service_{
			Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE},
		}}}
	}
	return response, nil
}

// Probe says whether calls can be served. The appliance being away doesn't make the process unready: calls that need it
// say so themselves, and restarting would not bring it back.
func (i *Identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(i.ready())}, nil
}
