// Package sanity holds one test: csi-sanity, the specification's own conformance suite, against the controller service
// on the real appliance client and the simulator. Kubernetes isn't there, so the appliance's records alone decide.
package sanity
