// Package apiserver tests what only a real API server can show, against etcd and kube-apiserver as processes: what its
// preconditions hold back, how watches go on after it was killed, what its objects look like, and whether the manifests
// give the accounts every right that they need. Whatever driver and pod-restarter do here they do with their accounts'
// tokens.
//
// Where to find what:
//
//   - main_test.go     the API server, shared by all tests, and how tests wait
//   - driver_test.go   the driver's informers with its account, and what they told
//   - delete_test.go   an attachment that changed since it was judged stays
//   - watch_test.go    a killed API server hides no deletion; bookmarks spare a relist
//   - trim_test.go     nothing that is read gets lost on the way into the cache
//   - rights_test.go   what the accounts of driver and pod-restarter may do, and may not
//   - restart_test.go  the pod-restarter deletes exactly what it should
//   - migrate_test.go  what docs/migrating.md has people do to PersistentVolumes of v0.x
//   - status_test.go   what "rds-csi status" shows, under both its names, with the rights that it asks for
//   - leader_test.go   one of two controllers is killed, and the other takes over
//
// Run it with "make apiserver", which builds the programs it needs.
package apiserver
