package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// auditPolicy makes the API server note who deletes attachments, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [delete, deletecollection]
    resources:
      - {group: storage.k8s.io, resources: [volumeattachments]}
  - level: None
`

// ErrNoDeletion says that the API server noted no deletion of an attachment.
var ErrNoDeletion = errors.New("nobody deleted the attachment")

// Deletion is one accepted request to delete an attachment.
type Deletion struct {
	User  string // the user name, such as system:serviceaccount:NAMESPACE:NAME
	Agent string // what the client called itself
	At    time.Time
}

// Deletion returns the first accepted request to delete the VolumeAttachment of that name, as the API server noted it,
// or ErrNoDeletion.
func (c *Cluster) Deletion(attachment string) (Deletion, error) {
	content, err := os.ReadFile(c.auditLog())
	if err != nil {
		return Deletion{}, fmt.Errorf("read the audit log: %w", err)
	}
	for line := range bytes.Lines(content) {
		var noted struct {
			User           struct{ Username string }
			UserAgent      string
			ObjectRef      struct{ Name string }
			ResponseStatus struct{ Code int }
			StageTimestamp time.Time
		}
		// The last line may still be in the making.
		if json.Unmarshal(line, &noted) != nil {
			continue
		}
		if noted.ObjectRef.Name == attachment && noted.ResponseStatus.Code/100 == 2 {
			return Deletion{User: noted.User.Username, Agent: noted.UserAgent, At: noted.StageTimestamp}, nil
		}
	}
	return Deletion{}, fmt.Errorf("%w %s", ErrNoDeletion, attachment)
}

func (c *Cluster) auditLog() string { return c.folder.path("logs", "audit.json") }
