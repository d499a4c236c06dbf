// Package manifests reads the objects of a rendered kustomization, and tells how to run the containers of its pods as
// processes: with the very arguments, in which only paths and ports are those of the process.
//
//   - rendered.go  the objects of a rendering
//   - command.go   the command line of one container
package manifests
