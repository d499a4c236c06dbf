package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ErrRights says that the rights of an account aren't those that its processes need.
var ErrRights = errors.New("the manifests' rights aren't what is needed")

// right is one verb on one resource, which may have a subresource: "pods/status".
type right struct{ user, verb, group, resource string }

func (r right) String() string {
	return fmt.Sprintf("%s: %s %s.%s", r.user, r.verb, r.resource, r.group)
}

// CheckRights compares what an account may do with what its processes have asked for. It returns ErrRights with everything
// that was denied, and every right that nobody used and that isn't in excused. A right to list is used by whoever watches: an
// informer lists where the API server can't stream what there is.
func (c *Cluster) CheckRights(ctx context.Context, account string, excused map[string]string) error {
	lines, err := c.auditLines()
	if err != nil {
		return err
	}
	rules, err := c.rules(ctx, account)
	if err != nil {
		return err
	}
	return compare(c.AccountUser(account), rules, lines, excused)
}

func compare(user string, rules []rbacv1.PolicyRule, lines []noted, excused map[string]string) error {
	used, wrong := map[right]bool{}, map[string]bool{}
	for _, line := range lines {
		object := line.ObjectRef
		asked := right{line.User.Username, line.Verb, object.APIGroup, strings.TrimSuffix(object.Resource+"/"+object.Subresource, "/")}
		used[asked] = true
		if asked.user == user && line.ResponseStatus.Code == http.StatusForbidden {
			wrong[fmt.Sprintf("denied to %s %s/%s", asked, object.Namespace, object.Name)] = true
		}
	}
	for _, given := range rightsOf(user, rules) {
		watches := given
		watches.verb = "watch"
		byWatching := given.verb == "list" && used[watches]
		if !used[given] && !byWatching && excused[given.verb+" "+given.resource] == "" {
			wrong["never used by "+given.String()] = true
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w:\n%s", ErrRights, strings.Join(slices.Sorted(maps.Keys(wrong)), "\n"))
	}
	return nil
}

func rightsOf(user string, rules []rbacv1.PolicyRule) (all []right) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, right{user, verb, group, resource})
				}
			}
		}
	}
	return all
}

// rules are those of all roles that an account of the driver's namespace has.
func (c *Cluster) rules(ctx context.Context, account string) ([]rbacv1.PolicyRule, error) {
	rbac := c.client.RbacV1()
	var rules []rbacv1.PolicyRule
	has := func(subjects []rbacv1.Subject) bool {
		return slices.ContainsFunc(subjects, func(subject rbacv1.Subject) bool {
			return subject.Kind == rbacv1.ServiceAccountKind && subject.Namespace == driverNamespace && subject.Name == account
		})
	}
	clusterBindings, err := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the rights: %w", err)
	}
	for _, binding := range clusterBindings.Items {
		if has(binding.Subjects) {
			role, err := rbac.ClusterRoles().Get(ctx, binding.RoleRef.Name, metav1.GetOptions{})
			if err != nil {
				return nil, fmt.Errorf("read the rights: %w", err)
			}
			rules = append(rules, role.Rules...)
		}
	}
	bindings, err := rbac.RoleBindings(driverNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the rights: %w", err)
	}
	for _, binding := range bindings.Items {
		if has(binding.Subjects) {
			role, err := rbac.Roles(driverNamespace).Get(ctx, binding.RoleRef.Name, metav1.GetOptions{})
			if err != nil {
				return nil, fmt.Errorf("read the rights: %w", err)
			}
			rules = append(rules, role.Rules...)
		}
	}
	return rules, nil
}
