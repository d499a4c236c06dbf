package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

// elsewhereWithin bounds the whole failover. Without the driver it takes nearly seven minutes.
const elsewhereWithin = 4 * time.Minute

// story is one run: what is known so far, and the step that is being taken.
type story struct {
	options  cluster.Options
	show     printer
	progress printer

	step       string
	cluster    *cluster.Cluster
	first      place  // where the pod ran
	second     place  // where it runs afterwards
	checksum   string // of the file in the volume
	attachment string // name of the first place's VolumeAttachment
	line       *timeline
	writer     *deadWriter // on the first place's node
	stopWriter context.CancelFunc
}

// tell takes the steps one after the other. If it fails, step says which one it was.
func (s *story) tell(ctx context.Context) error {
	defer s.endWriter()
	for _, step := range []struct {
		name string
		take func(context.Context) error
	}{
		{"start the cluster", s.startCluster},
		{"run the workload and write into its volume", s.work},
		{"replace the driver's pods while the volume is in use", s.upgrade},
		{"lose the node, and see the pod run elsewhere", s.failOver},
		{"find the data there", s.compare},
		{"check how it happened", s.check},
		{"grow and delete the volume", s.finish},
		{"compare the rights with what was asked for", s.compareRights},
		{"remove the driver", s.uninstall},
	} {
		s.step = step.name
		if err := step.take(ctx); err != nil {
			return fmt.Errorf("step %q: %w", step.name, err)
		}
	}
	return nil
}

// endWriter ends the dead node's writing, if it began, and returns when it has ended.
func (s *story) endWriter() {
	if s.stopWriter == nil {
		return
	}
	s.stopWriter()
	<-s.writer.ended
}

func (s *story) startCluster(ctx context.Context) (err error) {
	s.cluster, err = cluster.Start(ctx, s.options)
	return err
}

func (s *story) work(ctx context.Context) (err error) {
	if s.first, err = createWorkload(ctx, s.cluster.Client()); err != nil {
		return err
	}
	s.progress("pod %s runs on %s with volume %s", s.first.pod, s.first.node, s.first.volume)
	if s.checksum, err = writeFile(published(s.cluster.KubeletRoot(s.first.node), s.first)); err != nil {
		return err
	}
	s.progress("wrote and synced %d bytes in the volume, SHA-256 %.16s…", fileSize, s.checksum)
	if s.writer, err = newDeadWriter(published(s.cluster.KubeletRoot(s.first.node), s.first)); err != nil {
		return err
	}
	if s.attachment, err = attachmentOf(ctx, s.cluster, s.first); err != nil {
		return err
	}
	count, err := clearedBy(ctx, s.cluster.Controllers())
	if err != nil {
		return err
	}
	if count != 0 {
		return fmt.Errorf("%w: %s is %g before anything went wrong", errEvidence, clearedCounter, count)
	}
	return nil
}

// upgrade replaces the driver's pods. The volume stays attached and mounted, and the node plugin knows of it afterwards.
func (s *story) upgrade(ctx context.Context) error {
	if err := s.cluster.Upgrade(ctx); err != nil {
		return err
	}
	found, err := readFile(published(s.cluster.KubeletRoot(s.first.node), s.first))
	if err != nil {
		return err
	}
	if found != s.checksum {
		return fmt.Errorf("%w: the file's SHA-256 is %s, not %s", errEvidence, found, s.checksum)
	}
	attachment, err := attachmentOf(ctx, s.cluster, s.first)
	if err == nil && attachment != s.attachment {
		err = fmt.Errorf("%w: the attachment is %s, and was %s", errEvidence, attachment, s.attachment)
	}
	return err
}

func (s *story) failOver(ctx context.Context) error {
	if err := s.cluster.KillKubelet(s.first.node); err != nil {
		return err
	}
	s.progress("killed the kubelet of %s; the volume is still connected and mounted there, and a program goes on writing", s.first.node)
	writing, stop := context.WithCancel(ctx)
	s.stopWriter = stop
	go s.writer.run(writing)
	s.line = newTimeline(s.show)
	ctx, cancel := context.WithTimeoutCause(ctx, elsewhereWithin, fmt.Errorf("%w: %s since the node was lost", errTimeout, elsewhereWithin))
	defer cancel()
	w := &watcher{old: s.first, line: s.line, deletion: s.cluster.Deletion, client: s.cluster.Client(), sim: s.cluster.Appliance()}
	ended, err := w.watch(ctx)
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		ended()
	}()
	s.line.begin()
	if err := s.cluster.Client().CoreV1().Nodes().Delete(ctx, s.first.node, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete Node %s: %w", s.first.node, err)
	}
	if err := s.awaitAll(ctx, nodeDeleted, accessRevoked); err != nil {
		return err
	}
	// Waiting on makes no sense if the first node may still write.
	if err := allConfirmed(ctx, s.cluster.Appliance()); err != nil {
		return err
	}
	return s.awaitAll(ctx, attachmentGone, runningElsewhere)
}

func (s *story) awaitAll(ctx context.Context, first, last milestone) error {
	for m := first; m <= last; m++ {
		if err := s.line.await(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) compare(ctx context.Context) (err error) {
	s.endWriter()
	if s.second, err = findWorkload(ctx, s.cluster.Client(), s.first); err != nil {
		return err
	}
	folder := published(s.cluster.KubeletRoot(s.second.node), s.second)
	found, err := readFile(folder)
	if err != nil {
		return err
	}
	if found != s.checksum {
		return fmt.Errorf("%w: the file's SHA-256 is %s, not %s", errEvidence, found, s.checksum)
	}
	s.progress("the file is there on %s, SHA-256 %.16s…", s.second.node, found)
	revoked, _ := s.line.when(accessRevoked)
	if err := s.writer.judge(folder, revoked); err != nil {
		return err
	}
	acknowledged := len(s.writer.acknowledged)
	s.progress("all %d blocks that %s wrote until it was shut out are there, and none of the %d later ones (%s)",
		acknowledged, s.first.node, s.writer.attempts-acknowledged, cause(s.writer.failure))
	return nil
}

func (s *story) check(ctx context.Context) error {
	deletion, err := deletedByUs(s.cluster.Deletion, s.cluster.ControllerUser(), s.attachment, s.first.pod)
	if err != nil {
		return err
	}
	s.progress("the stale attachment was deleted by %s (%s)", deletion.User, deletion.Agent)
	if err := errors.Join(
		s.line.before(accessRevoked, attachmentGone),
		s.line.before(attachmentGone, attachedElsewhere),
		allConfirmed(ctx, s.cluster.Appliance()),
	); err != nil {
		return err
	}
	count, err := clearedBy(ctx, s.cluster.Controllers())
	if err != nil {
		return err
	}
	if count < 1 {
		return fmt.Errorf("%w: %s is %g", errEvidence, clearedCounter, count)
	}
	s.progress("%s %g", clearedCounter, count)
	return s.alert(ctx)
}
