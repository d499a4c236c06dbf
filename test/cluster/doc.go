// Package cluster runs a whole Kubernetes cluster on this machine's loopback interface: the real etcd, API server,
// controller manager, scheduler, CSI sidecars and kubelets, together with this repository's driver and the appliance
// simulator. Only the container runtime under the kubelets is a fake one: pods run no program, but their volumes are
// really attached, staged, formatted and mounted.
//
// Where to look:
//
//   - [Start] (cluster.go) says in which order everything comes up and returns a [Cluster] to talk to; [Stop]
//     (stop.go) ends exactly what was started, also from another process. [StartAPIServer] brings up the part that the
//     driver's controllers talk to.
//   - folder.go: the run folder, in which everything lives that a run makes.
//   - process.go starts processes, ledger.go remembers them on disk, ready.go waits for them with a bound.
//   - pki.go and kubeconfig.go: keys, certificates, and one kubeconfig for each identity.
//   - controlplane.go, driver.go and node.go: the command lines of the programs.
//   - audit.go: who deleted an attachment, as the API server noted it.
//   - mounts.go: takes away mounts and loop devices that a killed kubelet or node process left behind.
package cluster
