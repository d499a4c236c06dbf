// Package volumehealth has the reasons with which the node service reports that a volume can't be used. kubelet copies
// them into pod.status.volumeHealth, where package restart and people's scripts read them.
package volumehealth
