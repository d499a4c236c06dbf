package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// auditPolicy makes the API server note who deletes attachments and pods, and nothing else. The pod garbage collector marks
// a pod as failed before it deletes it. From then on the pod uses no volume, so that counts as its deletion.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [delete, deletecollection]
    resources:
      - {group: storage.k8s.io, resources: [volumeattachments]}
      - {group: "", resources: [pods]}
  - level: Metadata
    users: ["system:serviceaccount:kube-system:pod-garbage-collector"]
    verbs: [patch]
    resources:
      - {group: "", resources: [pods/status]}
  - level: None
`

// ErrNoDeletion says that the API server noted no deletion of an object.
var ErrNoDeletion = errors.New("nobody deleted it")

// Deletion is one accepted request to delete an object, or to mark a pod as failed that is to be deleted.
type Deletion struct {
	User  string    // the user name, such as system:serviceaccount:NAMESPACE:NAME
	Agent string    // what the client called itself
	At    time.Time // when the request came in
}

// Deletion returns the first accepted request to delete an object, as the API server noted it, or ErrNoDeletion.
// Resource is "pods" or "volumeattachments"; namespaces are not told apart.
func (c *Cluster) Deletion(resource, name string) (Deletion, error) {
	content, err := os.ReadFile(c.auditLog())
	if err != nil {
		return Deletion{}, fmt.Errorf("read the audit log: %w", err)
	}
	for line := range bytes.Lines(content) {
		var noted struct {
			User                     struct{ Username string }
			UserAgent                string
			ObjectRef                struct{ Resource, Name string }
			ResponseStatus           struct{ Code int }
			RequestReceivedTimestamp time.Time
		}
		// The last line may still be in the making.
		if json.Unmarshal(line, &noted) != nil {
			continue
		}
		if noted.ObjectRef.Resource == resource && noted.ObjectRef.Name == name && noted.ResponseStatus.Code/100 == 2 {
			return Deletion{User: noted.User.Username, Agent: noted.UserAgent, At: noted.RequestReceivedTimestamp}, nil
		}
	}
	return Deletion{}, fmt.Errorf("%s %s: %w", resource, name, ErrNoDeletion)
}

func (c *Cluster) auditLog() string { return c.folder.path("logs", "audit.json") }
