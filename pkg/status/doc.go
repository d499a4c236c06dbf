// Package status says how the driver's volumes, attachments and nodes are, what is stuck, why, and what to do. It is what
// the command "rds-csi status" shows. It imports no client: what was read comes in as plain values, and Of is a pure
// function.
//
// Where to find what:
//
//   - seen.go      Seen: what was read of the cluster and, if it was asked, of the appliance
//   - report.go    Of: the rows of the report
//   - problems.go  what is stuck, why, and what to do
//
// Whether a machine is gone is judged by package attach, as the driver itself does.
package status
