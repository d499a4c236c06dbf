// Package failure is what the CSI services fail with, and the one place where an error becomes a gRPC code.
//
//   - errors.go   the errors that the services add to those of packages attach, nvme and rds
//   - codes.go    the table of gRPC codes
//   - panic.go    a panic as an error
package failure
