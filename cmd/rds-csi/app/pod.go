package app

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podParts is the number of parts of --pod.
const podParts = 3

// podOptions say which pod the process runs in.
type podOptions struct{ text string }

func (o podOptions) validate() error {
	parts := strings.Split(o.text, "/")
	if o.text != "" && (len(parts) != podParts || strings.Contains("/"+o.text+"/", "//")) {
		return fmt.Errorf("--pod %q: want namespace/name/UID, or nothing", o.text)
	}
	return nil
}

// reference returns the pod, if it is given.
func (o podOptions) reference() []corev1.ObjectReference {
	if o.text == "" {
		return nil
	}
	parts := strings.Split(o.text, "/")
	return []corev1.ObjectReference{{APIVersion: "v1", Kind: "Pod", Namespace: parts[0], Name: parts[1], UID: types.UID(parts[2])}}
}
