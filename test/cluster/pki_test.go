package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
)

func TestAuthorityIssuesWhatServersAndClientsAccept(t *testing.T) {
	authority, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	server, err := authority.server()
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.client("somebody", "some:group")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		pair  keyPair
		host  string
		usage x509.ExtKeyUsage
	}{
		"server": {server, "127.0.0.1", x509.ExtKeyUsageServerAuth},
		"client": {client, "", x509.ExtKeyUsageClientAuth},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := tls.X509KeyPair(tt.pair.certificate, tt.pair.key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.usage}}); err != nil {
				t.Errorf("got %v, want a valid certificate", err)
			}
			if name == "client" && (pair.Leaf.Subject.CommonName != "somebody" || !slices.Contains(pair.Leaf.Subject.Organization, "some:group")) {
				t.Errorf("got subject %v, want the user and its group", pair.Leaf.Subject)
			}
		})
	}
}
