package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// auditPolicy makes the API server note who deletes attachments and pods, with the object that it answers, in which the
// resource version stands, and everything that the driver's accounts ask for. The pod garbage collector marks a pod as failed before it deletes it.
// From then on the pod uses no volume, so that counts as its deletion.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    verbs: [delete, deletecollection]
    resources:
      - {group: storage.k8s.io, resources: [volumeattachments]}
      - {group: "", resources: [pods]}
  - level: RequestResponse
    users: ["system:serviceaccount:kube-system:pod-garbage-collector"]
    verbs: [patch]
    resources:
      - {group: "", resources: [pods/status]}
  - level: Metadata
    userGroups: ["system:serviceaccounts:` + driverNamespace + `"]
  - level: None
`

// ErrNoDeletion says that the API server noted no deletion of an object.
var ErrNoDeletion = errors.New("nobody deleted it")

// Deletion is one accepted request to delete an object, or to mark a pod as failed that is to be deleted.
type Deletion struct {
	User  string    // the user name, such as system:serviceaccount:NAMESPACE:NAME
	Agent string    // what the client called itself
	At    time.Time // when the request came in
	// Revision is etcd's after the request. It tells which of two requests was carried out first, which no clock does: one
	// that came in later may be served before.
	Revision uint64
}

// noted is a line of the audit log.
type noted struct {
	Verb      string
	User      struct{ Username string }
	UserAgent string
	ObjectRef struct{ APIGroup, Resource, Subresource, Namespace, Name string }

	ResponseStatus struct{ Code int }
	ResponseObject struct {
		Metadata struct{ ResourceVersion string }
	}
	RequestReceivedTimestamp time.Time
}

func (c *Cluster) auditLines() ([]noted, error) {
	content, err := os.ReadFile(c.auditLog())
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	var all []noted
	for line := range bytes.Lines(content) {
		var one noted
		if json.Unmarshal(line, &one) == nil { // the last line may still be in the making
			all = append(all, one)
		}
	}
	return all, nil
}

// Deletion returns the accepted request to delete an object that was carried out first, or ErrNoDeletion if the API server
// has noted none so far. It notes requests when it has answered them, in whatever order. Resource is "pods" or
// "volumeattachments"; namespaces are not told apart.
func (c *Cluster) Deletion(resource, name string) (Deletion, error) {
	lines, err := c.auditLines()
	if err != nil {
		return Deletion{}, err
	}
	var first Deletion
	for _, noted := range lines {
		if !slices.Contains([]string{"delete", "patch"}, noted.Verb) || noted.ObjectRef.Resource != resource || noted.ObjectRef.Name != name || noted.ResponseStatus.Code/100 != 2 {
			continue
		}
		// An answer without a version tells that another request removed the object meanwhile. That one counts.
		revision, err := strconv.ParseUint(noted.ResponseObject.Metadata.ResourceVersion, 10, 64)
		if err != nil {
			continue
		}
		if first.Revision == 0 || revision < first.Revision {
			first = Deletion{User: noted.User.Username, Agent: noted.UserAgent, At: noted.RequestReceivedTimestamp, Revision: revision}
		}
	}
	if first.Revision == 0 {
		return Deletion{}, fmt.Errorf("%s %s: %w", resource, name, ErrNoDeletion)
	}
	return first, nil
}

func (c *Cluster) auditLog() string { return c.folder.path("logs", "audit.json") }
