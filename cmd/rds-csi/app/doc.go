// Package app is the command rds-csi without its main function: flags, and the wiring of the packages that do the work.
// Other commands import it to run the same wiring with other parts.
//
// Where to find what:
//
//   - main.go            the subcommands; docs/configuration.md is written from their flags: make docs
//   - controller.go      the controller process; controlleroptions.go, applianceoptions.go: its flags
//   - contact.go         the first contact with the appliance, which readiness waits for
//   - leader.go          leader election; audit.go: what only the leading controller runs; stoppable.go: a task with a Stop
//   - parts.go           running the parts of a process, and trying again; keeper.go: the export that keeps the port open
//   - kube.go            the flags of every process that talks to the API server, and its clients
//   - podrestarter.go    the pod-restarter process and its flags; pod.go: the pod that a process runs in
//   - valve.go           the valve against mass deletion, with its log lines and metric
//   - node.go            the node process and its flags; initiator.go: the kernel's initiator; machineid.go: the
//     identity
//   - appliancecheck.go  the subcommand "appliance check"
//   - appliancemend.go   the subcommand "appliance mend"
//   - appliancemetrics.go    the metrics of the appliance
//   - status.go          the subcommand "status", also as the kubectl plugin "kubectl rds status"
//   - execute.go         signals and exit codes of every process; logging.go: its log
//   - http.go            /metrics, /healthz and /readyz; version.go: the version
package app
