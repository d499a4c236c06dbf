package cluster

import (
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

func TestRightsAreComparedWithWhatWasAskedFor(t *testing.T) {
	const user = "system:serviceaccount:rds-csi:a"
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"volumeattachments/status"}, Verbs: []string{"patch"}},
	}
	asked := func(user, verb, group, resource, subresource string, code int) (line noted) {
		line.User.Username, line.Verb, line.ResponseStatus.Code = user, verb, code
		line.ObjectRef.APIGroup, line.ObjectRef.Resource, line.ObjectRef.Subresource = group, resource, subresource
		return line
	}
	watches, patches := asked(user, "watch", "", "pods", "", 200), asked(user, "patch", "storage.k8s.io", "volumeattachments", "status", 200)
	for name, tt := range map[string]struct {
		lines   []noted
		excused map[string]string
		wrong   string
	}{
		"all used":                         {lines: []noted{watches, patches}},
		"denied":                           {lines: []noted{watches, patches, asked(user, "get", "", "secrets", "", 403)}, wrong: "denied to " + user + ": get secrets."},
		"denied to somebody else":          {lines: []noted{watches, patches, asked("another", "get", "", "secrets", "", 403)}},
		"not found is not denied":          {lines: []noted{watches, patches, asked(user, "get", "", "pods", "", 404)}},
		"never used":                       {lines: []noted{watches}, wrong: "never used by " + user + ": patch volumeattachments/status.storage.k8s.io"},
		"used by somebody else":            {lines: []noted{watches, asked("another", "patch", "storage.k8s.io", "volumeattachments", "status", 200)}, wrong: "never used"},
		"used without the subresource":     {lines: []noted{watches, asked(user, "patch", "storage.k8s.io", "volumeattachments", "", 200)}, wrong: "never used"},
		"used in another group":            {lines: []noted{watches, asked(user, "patch", "", "volumeattachments", "status", 200)}, wrong: "never used"},
		"never used, and excused":          {lines: []noted{watches}, excused: map[string]string{"patch volumeattachments/status": "why"}},
		"a list is no watch":               {lines: []noted{asked(user, "list", "", "pods", "", 200), patches}, wrong: "never used by " + user + ": watch pods."},
		"denied, whatever else is excused": {lines: []noted{watches, asked(user, "patch", "storage.k8s.io", "volumeattachments", "status", 403)}, excused: map[string]string{"patch volumeattachments/status": "why"}, wrong: "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			err := compare(user, rules, tt.lines, tt.excused)
			if errors.Is(err, ErrRights) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("got %v, want %q", err, tt.wrong)
			}
		})
	}
}
