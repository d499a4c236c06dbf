package search

import (
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/attach"
	drivercsi "git.srvlab.io/whiskey/rds-csi-driver/pkg/csi"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// without is a driver that lacks a protection, or none. The product isn't touched: what it says and hears is altered.
type without struct {
	// line alters what is sent to the appliance.
	line func(string) string
	// kubernetes, appliance, nodes and records stand before what the product asks.
	kubernetes func(*cache) attacherView
	appliance  func(*rds.Client) drivercsi.Appliance
	nodes      func(*world, drivercsi.Nodes) drivercsi.Nodes
	records    func(*drivercsi.Controller) attach.Appliance
	// identity is what a machine reports of itself.
	identity func(machine string) string
}

// nothing is the driver as it is.
func nothing() without {
	return without{
		line:       func(line string) string { return line },
		kubernetes: func(c *cache) attacherView { return c },
		appliance:  func(client *rds.Client) drivercsi.Appliance { return client },
		nodes:      func(_ *world, nodes drivercsi.Nodes) drivercsi.Nodes { return nodes },
		records:    func(controller *drivercsi.Controller) attach.Appliance { return controller },
		identity:   func(machine string) string { return machine },
	}
}
