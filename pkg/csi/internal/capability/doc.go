// Package capability checks volume capabilities for the controller and for nodes: access type and mode, filesystem, and
// mount options.
package capability
