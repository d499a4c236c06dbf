package cluster

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// identities writes one kubeconfig for each user of the API server.
type identities struct {
	folder    runFolder
	authority *authority
	server    string // URL of the API server
}

func (i *identities) file(name string) string { return i.folder.path("pki", name+".kubeconfig") }

// certified writes the kubeconfig NAME of a user who shows a certificate.
func (i *identities) certified(name, user string, groups ...string) error {
	pair, err := i.authority.client(user, groups...)
	if err != nil {
		return err
	}
	return i.write(name, &clientcmdapi.AuthInfo{ClientCertificateData: pair.certificate, ClientKeyData: pair.key})
}

// account writes the kubeconfig NAME of a ServiceAccount, with a token that the API server issued for it.
func (i *identities) account(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	seconds := int64(validFor / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("request a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return i.write(name, &clientcmdapi.AuthInfo{Token: token.Status.Token})
}

func (i *identities) write(name string, user *clientcmdapi.AuthInfo) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["demo"] = &clientcmdapi.Cluster{Server: i.server, CertificateAuthorityData: i.authority.pem}
	config.AuthInfos[name] = user
	config.Contexts["demo"] = &clientcmdapi.Context{Cluster: "demo", AuthInfo: name}
	config.CurrentContext = "demo"
	if err := clientcmd.WriteToFile(*config, i.file(name)); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	return nil
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of kubeconfig %s: %w", kubeconfig, err)
	}
	return client, nil
}
