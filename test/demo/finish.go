package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	grownSize    = "512Mi"
	finishWithin = 3 * time.Minute
)

var errNotYet = errors.New("not yet")

// finish grows the volume once nobody uses it, and deletes it: everything that a controller's pod does was seen then.
func (s *story) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, finishWithin, fmt.Errorf("%w: %s for the rest", errTimeout, finishWithin))
	defer cancel()
	client := s.cluster.Client()
	if err := client.AppsV1().StatefulSets(s.second.namespace).Delete(ctx, "database", metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the workload: %w", err)
	}
	if err := s.eventually(ctx, "the volume is detached", func() error { return s.detached(ctx) }); err != nil {
		return err
	}
	volumes, claims := client.CoreV1().PersistentVolumes(), client.CoreV1().PersistentVolumeClaims(s.second.namespace)
	volume, err := volumes.Get(ctx, s.second.volume, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("look at the volume: %w", err)
	}
	claim := volume.Spec.ClaimRef.Name
	patch := fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":%q}}}}`, grownSize)
	if _, err := claims.Patch(ctx, claim, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("ask for more: %w", err)
	}
	if err := s.eventually(ctx, "the volume has grown to "+grownSize, func() error {
		volume, err := volumes.Get(ctx, s.second.volume, metav1.GetOptions{})
		if err == nil && volume.Spec.Capacity[corev1.ResourceStorage] != resource.MustParse(grownSize) {
			err = fmt.Errorf("%w: it has %v", errNotYet, volume.Spec.Capacity)
		}
		return err
	}); err != nil {
		return err
	}
	if err := claims.Delete(ctx, claim, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the claim: %w", err)
	}
	return s.eventually(ctx, "the claim was deleted, and with it the volume and its disk", func() error {
		if _, err := volumes.Get(ctx, s.second.volume, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
}

// uninstall removes the driver, and makes sure that nothing of it is left in the cluster or on the appliance.
func (s *story) uninstall(ctx context.Context) error {
	if err := s.cluster.Uninstall(ctx); err != nil {
		return err
	}
	left, err := s.cluster.Leftovers(ctx)
	if err != nil {
		return err
	}
	exports, err := get(ctx, s.cluster.Appliance()+"/v1/disks")
	if err != nil {
		return err
	}
	if len(left) > 0 || strings.TrimSpace(string(exports)) != "[]" {
		return fmt.Errorf("%w: left in the cluster: %v, on the appliance: %s", errEvidence, left, exports)
	}
	s.progress("the driver is removed; no object, Lease, finalizer or exported disk of it is left")
	return nil
}

// detached returns nil once the volume has no attachment.
func (s *story) detached(ctx context.Context) error {
	list, err := s.cluster.Client().StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, attachment := range list.Items {
		if name := attachment.Spec.Source.PersistentVolumeName; name != nil && *name == s.second.volume {
			return fmt.Errorf("%w: there is %s", errNotYet, attachment.Name)
		}
	}
	return nil
}

// eventually waits until the condition has no error, and then says so.
func (s *story) eventually(ctx context.Context, what string, condition func() error) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			s.progress("%s", what)
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waited until %s: %w: %w", what, context.Cause(ctx), err)
		}
	}
}
