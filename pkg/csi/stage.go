package csi

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
)

// NodeStageVolume connects the volume, makes its filesystem if the device is proven blank, and mounts it at the staging
// path. It is the only call that ever formats.
func (n *Node) NodeStageVolume(ctx context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	s, err := n.stagingOf(request, &invalidError{field: "staging_target_path", want: "one"})
	if err != nil {
		return nil, err
	}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error { return n.stage(ctx, s) })
	if err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *Node) stage(ctx context.Context, s staging) error {
	device, err := n.reach(ctx, s)
	if err != nil {
		return err
	}
	staged, err := n.isStaged(s)
	if err != nil || staged {
		return err
	}
	if err := n.makeFilesystem(ctx, device, s.filesystem); err != nil {
		return err
	}
	return n.mountStaged(ctx, device, s)
}

// isStaged reports whether the staging path is mounted; reach has left nothing but the live device there.
func (n *Node) isStaged(s staging) (bool, error) {
	mounts, err := n.mountsAt(s.path)
	if err != nil || len(mounts) == 0 {
		return false, err
	}
	if kind := mounts[len(mounts)-1].Type; kind != s.filesystem.kind {
		return false, fmt.Errorf("%w: %s is staged as %s, %s was asked for", errIncompatible, s.volume, kind, s.filesystem.kind)
	}
	return true, nil
}

// NodeUnstageVolume unmounts the staging path and disconnects every subsystem of the volume, whatever its epoch.
func (n *Node) NodeUnstageVolume(ctx context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	path, err := checkRemoval(request.GetVolumeId(), "staging_target_path", request.GetStagingTargetPath())
	if err != nil {
		return nil, err
	}
	err = n.whileLocked(ctx, request.GetVolumeId(), func(ctx context.Context) error {
		return n.unstage(ctx, request.GetVolumeId(), path)
	})
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (n *Node) unstage(ctx context.Context, volumeID, path string) error {
	volume, err := rds.ParseVolumeID(volumeID)
	if err != nil {
		// The PersistentVolume was edited. It must not keep its pod from ending, and it can't name a connection of ours.
		klog.FromContext(ctx).Error(err, "Unmounting without disconnecting: the volume ID isn't ours", "path", path)
		return n.unmount(ctx, path)
	}
	connections, err := n.connector.Connections(ctx, volume.SubsystemPrefix())
	if err != nil {
		return fmt.Errorf("%w: list connections: %w", errConnection, err)
	}
	for _, connection := range connections {
		if err := n.checkUnused(connection, path); err != nil {
			return err
		}
	}
	if err := n.unmount(ctx, path); err != nil {
		return err
	}
	for _, connection := range connections {
		if err := n.connector.Disconnect(ctx, connection.SubsystemNQN); err != nil {
			return fmt.Errorf("%w: disconnect %s: %w", errConnection, connection.SubsystemNQN, err)
		}
		klog.FromContext(ctx).V(2).Info("Disconnected", "subsystem", connection.SubsystemNQN, "device", connection.Device)
	}
	return nil
}

// checkUnused makes sure that a connection isn't cut under a pod: its device may be mounted at the staging path only.
func (n *Node) checkUnused(connection nvme.Connection, stagingPath string) error {
	if connection.Device == "" {
		return nil
	}
	mounts, err := n.mountsOf(connection.Device)
	if err != nil {
		return err
	}
	own, err := resolved(stagingPath)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.Path != own {
			return fmt.Errorf("%w: %s (%s) is mounted at %s too; unpublish it there first", errInUse, connection.Device, connection.SubsystemNQN, m.Path)
		}
	}
	return nil
}
