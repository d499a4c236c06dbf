package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

// errEvidence says that what happened isn't what must happen.
var errEvidence = errors.New("not as it must be")

// attachmentOf finds the VolumeAttachment of a volume to a node. It must be attached and nobody may be deleting it.
func attachmentOf(ctx context.Context, c *cluster.Cluster, where place) (string, error) {
	list, err := c.Client().StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list attachments: %w", err)
	}
	i := slices.IndexFunc(list.Items, func(a storagev1.VolumeAttachment) bool {
		name := a.Spec.Source.PersistentVolumeName
		return name != nil && *name == where.volume && a.Spec.NodeName == where.node
	})
	if i < 0 {
		return "", fmt.Errorf("%w: no attachment of %s to %s", errEvidence, where.volume, where.node)
	}
	if a := list.Items[i]; !a.Status.Attached || a.DeletionTimestamp != nil {
		return "", fmt.Errorf("%w: attachment %s: attached %t, deletion asked %v", errEvidence, a.Name, a.Status.Attached, a.DeletionTimestamp)
	}
	return list.Items[i].Name, nil
}

// deletedByUs makes sure that it was the driver that deleted the stale attachment, and not the attach-detach controller
// after its six minutes; and that the pod had ended before: else the attachment would only be made again. etcd's revisions
// tell that. Clocks don't: who watches may act on a change before the API server has answered whoever asked for it.
func deletedByUs(deletion func(resource, name string) (cluster.Deletion, error), driver, attachment, pod string) (cluster.Deletion, error) {
	of, err := deletion("volumeattachments", attachment)
	if err != nil {
		return of, fmt.Errorf("who deleted the stale attachment: %w", err)
	}
	if of.User != driver {
		return of, fmt.Errorf("%w: %s (%s) deleted the stale attachment, not %s", errEvidence, of.User, of.Agent, driver)
	}
	ofPod, err := deletion("pods", pod)
	if err != nil {
		return of, fmt.Errorf("who deleted the pod: %w", err)
	}
	if ofPod.Revision >= of.Revision {
		return of, fmt.Errorf("%w: the attachment was deleted in revision %d, before its pod in %d", errEvidence, of.Revision, ofPod.Revision)
	}
	return of, nil
}

// allConfirmed makes sure that every host that was ever shut out was seen to have no way left.
func allConfirmed(ctx context.Context, sim string) error {
	list, err := revocations(ctx, sim)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: the appliance shut nobody out", errEvidence)
	}
	for _, r := range list {
		if !r.Confirmed {
			return fmt.Errorf("%w: the revocation of %s at %s was not confirmed", errEvidence, r.HostNQN, r.SubsystemNQN)
		}
	}
	return nil
}

// excused are the rights that one run may not need, with the reason.
func excused() map[string]string {
	return map[string]string{
		"get persistentvolumes":         "asked for by the driver if a volume isn't in its cache yet",
		"get volumeattachments":         "asked for by the driver if a node wants a volume that another one holds",
		"update persistentvolumeclaims": "asked for by external-provisioner if there is no room",
		"patch events":                  "asked for if an event repeats",
	}
}

// compareRights makes sure that the manifests give the controllers' pods every right that they asked for, and no other.
func (s *story) compareRights(ctx context.Context) error {
	if err := s.cluster.CheckRights(ctx, "rds-csi-controller", excused()); err != nil {
		return err
	}
	s.progress("no request of the controllers' pods was denied, and they used every right that they have")
	return nil
}

// alert makes sure that operators hear of it: a real Prometheus scrapes the controllers, and sees the alert fire.
func (s *story) alert(ctx context.Context) error {
	const wanted = "StaleAttachmentsCleared"
	var targets []string
	for _, url := range s.cluster.Controllers() {
		targets = append(targets, strings.TrimPrefix(url, "http://"))
	}
	command := exec.CommandContext(ctx, filepath.Join(s.options.Programs, "rulecheck"), "--scrape", strings.Join(targets, ","), "--want", wanted, //nolint:gosec // this repository's own program
		"--rules", filepath.Join(s.options.Manifests, "components", "monitoring", "prometheusrule.yaml"))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: the alert %s: %w: %s", errEvidence, wanted, err, output)
	}
	s.progress("Prometheus fires the alert %s", wanted)
	return nil
}
