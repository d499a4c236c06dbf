package restart

import (
	"slices"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// Pod is what is known of a pod.
type Pod struct {
	Namespace, Name, UID, ResourceVersion string
	// Controller is zero if the pod has none.
	Controller Controller
	// Mirror: the pod only shows a static pod of its node, which goes on when it is deleted.
	Mirror bool
	// Ended: it has succeeded or failed. Terminating: it is being deleted.
	Ended, Terminating bool
	// Mounted: its containers could start, so its volumes were mounted.
	Mounted bool
	// Ready: it serves.
	Ready bool
	// Reports are what kubelet reports of the pod's volumes of this driver.
	Reports []Report
}

// Controller is the controller that a pod names as its owner.
type Controller struct{ Kind, Name, UID string }

// Report is one condition of a volume of a pod.
type Report struct {
	// Volume is the volume's name in the pod, and Claim the name of its claim.
	Volume, Claim string
	// Reason is one of package volumehealth, or of a later version.
	Reason string
}

// Workload returns the key of the pod's workload: the pods of one controller have the same one.
func (p Pod) Workload() string {
	if p.Controller.UID == "" {
		return p.Namespace + "/" + p.UID
	}
	return p.Namespace + "/" + p.Controller.UID
}

// lost returns the first report by which the pod is lost. It returns false if there is none, or if deleting the pod is
// needless: it ends already, or its volumes aren't mounted yet, or it isn't there to be deleted.
func (p Pod) lost() (Report, bool) {
	if p.Ended || p.Terminating || p.Mirror || !p.Mounted {
		return Report{}, false
	}
	i := slices.IndexFunc(p.Reports, func(report Report) bool { return slices.Contains(volumehealth.Lost(), report.Reason) })
	if i < 0 {
		return Report{}, false
	}
	return p.Reports[i], true
}
