package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"git.srvlab.io/whiskey/rds-csi-driver/test/cluster"
)

const tailLines = 8

// run tells the whole story and stops everything that it started, whatever happens.
func run(ctx context.Context, options cluster.Options, show printer) error {
	s := &story{options: options, show: show, progress: options.Progress}
	err := s.tell(ctx)
	// Whoever pressed Ctrl-C asks for no explanation.
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		s.explain()
	}
	if s.cluster != nil {
		options.Progress("stopping")
		err = errors.Join(err, cluster.Stop(s.cluster.Folder()))
	}
	if err != nil {
		return fmt.Errorf("the demo failed; logs are in %s: %w", filepath.Join(options.Folder, "logs"), err)
	}
	options.Progress("all of it happened; everything is stopped")
	return nil
}

// explain shows the ends of the logs that tell most about a failure. While the cluster starts, the error itself does.
func (s *story) explain() {
	if s.cluster == nil {
		return
	}
	for _, node := range s.options.Nodes {
		s.tail("node-" + node)
		s.tail("kubelet-" + node)
	}
	for _, name := range []string{"rds-sim", "csi-provisioner-1", "csi-attacher-1", "rds-csi-controller-1", "rds-csi-controller-2"} {
		s.tail(name)
	}
}

func (s *story) tail(name string) {
	path := filepath.Join(s.cluster.Folder(), "logs", name+".log")
	s.show("\n--- %s\n%s\n", path, cluster.Tail(path, tailLines))
}

// up leaves a cluster running and says how to use it.
func up(ctx context.Context, options cluster.Options, show printer) error {
	c, err := cluster.Start(ctx, options)
	if err != nil {
		return err
	}
	workload := filepath.Join(c.Folder(), "workload.yaml")
	if err := os.WriteFile(workload, workloadYAML, 0o600); err != nil {
		return errors.Join(fmt.Errorf("write the example workload: %w", err), cluster.Stop(c.Folder()))
	}
	show(`
The cluster runs. Logs are in %[1]s/logs. To use it:

  export KUBECONFIG=%[2]s PATH=%[3]s:$PATH
  kubectl apply -f %[4]s
  kubectl get nodes,pods,pvc,volumeattachments -o wide
  curl -s %[5]s/v1/disks        # what the appliance exports, and to whom
  curl -s %[6]s/metrics | grep ^rds_csi_   # one of the two controllers

To lose a node: kill -9 the kubelet of the node that the pod runs on (its process number is in
%[1]s/processes.jsonl), then kubectl delete node NAME, and watch:

  kubectl get pods,volumeattachments -w

To stop it: make demo-down
`, c.Folder(), c.Kubeconfig(), options.Harness, workload, c.Appliance(), c.Controllers()[0])
	return nil
}

func down(options cluster.Options, show printer) error {
	if err := cluster.Stop(options.Folder); err != nil {
		return fmt.Errorf("stop the cluster: %w", err)
	}
	show("Stopped. Logs are in %s.\n", filepath.Join(options.Folder, "logs"))
	return nil
}
