package app

import (
	"errors"
	"flag"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// errNoKubeconfig: nothing says how to reach the API server.
var errNoKubeconfig = errors.New("--kubeconfig: it isn't set, and this process doesn't run in a pod with a service account; give a kubeconfig")

// kubeOptions are the flags of every process that talks to the API server.
type kubeOptions struct {
	kubeconfig string
	qps        float64
	burst      int
}

// addFlags registers the flags with their defaults.
func (o *kubeOptions) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; default: the pod's ServiceAccount")
	flags.Float64Var(&o.qps, "kube-api-qps", 50, "requests per second to the API server")
	flags.IntVar(&o.burst, "kube-api-burst", 100, "requests to the API server in one burst")
}

// validate checks the flags without any I/O.
func (o *kubeOptions) validate() error {
	return failures([]check{
		{o.qps > 0, fmt.Errorf("--kube-api-qps %g: want more than 0", o.qps)},
		{o.burst > 0, fmt.Errorf("--kube-api-burst %d: want more than 0", o.burst)},
	})
}

// client returns a client of the API server. agent is what the process calls itself.
func (o *kubeOptions) client(agent string) (kubernetes.Interface, error) {
	config, err := o.config(agent)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func (o *kubeOptions) config(agent string) (*rest.Config, error) {
	load := rest.InClusterConfig
	if o.kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", o.kubeconfig) }
	}
	config, err := load()
	switch {
	case err != nil && o.kubeconfig != "":
		return nil, fmt.Errorf("--kubeconfig %q: %w", o.kubeconfig, err)
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, errNoKubeconfig
	case err != nil:
		return nil, fmt.Errorf("the pod's service account can't be used; is its token mounted? %w", err)
	}
	// client-go's default of 5 requests a second is too slow: another driver needed 55 s to check 20 volumes.
	config.QPS, config.Burst = float32(o.qps), o.burst
	config.UserAgent = agent + "/" + version()
	return config, nil
}
