// Package failure has the errors of the CSI services. It is the only place where an error becomes a gRPC code.
//
//   - errors.go   the errors that the services add to those of packages attach, nvme and rds
//   - codes.go    the table of gRPC codes
//   - panic.go    a panic as an error
package failure
