// Package app is everything of the command rds-csi but its main function: flags, and the wiring of the packages that do
// the work. It is importable so that other mains can run the same wiring with other parts.
//
// Where to find what: main.go has the subcommands; controller.go and node.go each have the options and the wiring of one
// process; leader.go lets one of several controllers do what audit.go puts together for it; valve.go keeps the valve against
// mass deletion informed; execute.go has what every process needs (signals, logging, exit code); http.go serves /metrics
// and /healthz.
package app
