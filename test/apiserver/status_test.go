package apiserver

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/status"
)

// The command shows the attachment of a deleted node and what to do about it, under each of its names, to somebody with the
// rights that its --help lists and no others.
func TestStatusShowsTheAttachmentOfADeletedNode(t *testing.T) {
	makeNode(t, "node-lives", "machine-lives")
	makeNode(t, "node-dies", "machine-dies")
	makeVolume(t, "pv-status")
	makeVolumeOf(t, "pv-of-others", "other.example")
	makeAttachment(t, "csi-status", "pv-status", "node-dies", "machine-dies")
	makePodUsing(t, "still-there", "node-dies", "pv-status")
	kubeconfig, programs := reader(t), t.TempDir()
	if err := os.Symlink(filepath.Join(absolute(t, os.Getenv("RDS_CSI_PROGRAMS")), "rds-csi"), filepath.Join(programs, "kubectl-rds")); err != nil {
		t.Fatal(err)
	}
	run := func(command string, arguments ...string) string {
		t.Helper()
		shell := exec.CommandContext(t.Context(), "bash", append([]string{"-c", command + ` "$@"`, command}, arguments...)...)
		shell.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig,
			"PATH="+strings.Join([]string{programs, absolute(t, os.Getenv("RDS_CSI_PROGRAMS")), absolute(t, os.Getenv("RDS_CSI_HARNESS")), os.Getenv("PATH")}, ":"))
		out, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", command, arguments, err, out)
		}
		return string(out)
	}
	if out := run("rds-csi status"); strings.Contains(out, "csi-status") || !strings.Contains(out, "node-dies") || strings.Contains(out, "pv-of-others") {
		t.Errorf("before:\n%s", out)
	}
	deleteNode(t, "node-dies")
	for _, command := range []string{"rds-csi status", "kubectl rds status"} {
		var report status.Report
		if err := json.Unmarshal([]byte(run(command, "-o", "json")), &report); err != nil {
			t.Fatal(err)
		}
		if len(report.Attachments) != 1 || report.Attachments[0].State != status.Stale || report.Attachments[0].NodeExists {
			t.Errorf("%s: %+v, want a stale attachment", command, report.Attachments)
		}
		out := run(command)
		for _, says := range []string{"VolumeAttachment csi-status", "Node node-dies doesn't exist any more", "default/still-there", "wait a minute: Kubernetes removes pods of a deleted Node"} {
			if !strings.Contains(out, says) {
				t.Errorf("%s doesn't say %q:\n%s", command, says, out)
			}
		}
	}
	if err := admin().CoreV1().Pods("default").Delete(t.Context(), "still-there", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	if out := run("kubectl rds status"); !strings.Contains(out, "the leading controller clears it") {
		t.Errorf("without the pod:\n%s", out)
	}
}

// reader gives the kubeconfig of somebody who may do what the command's --help says it needs, and nothing else.
func reader(t *testing.T) string {
	t.Helper()
	const name = "status-reader"
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes", "persistentvolumes", "pods"}, Verbs: []string{"list"}},
		{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"volumeattachments", "csinodes"}, Verbs: []string{"list"}},
	}}
	must[*rbacv1.ClusterRole](t)(admin().RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}))
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	must[*rbacv1.ClusterRoleBinding](t)(admin().RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}))
	config := must[*clientcmdapi.Config](t)(clientcmd.LoadFromFile(api.Kubeconfig()))
	for _, user := range config.AuthInfos {
		user.Impersonate = name
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	return must[string](t)(filepath.Abs(path))
}

// makePodUsing makes a pod on a node that uses a claim. No controller manager makes the account that pods need.
func makePodUsing(t *testing.T, name, node, claim string) {
	t.Helper()
	_, err := admin().CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "example.invalid/c"}}, AutomountServiceAccountToken: new(bool),
		Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
	}}
	must[*corev1.Pod](t)(admin().CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}))
}
