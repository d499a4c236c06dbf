package manifests

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Place is where one pod's processes run.
type Place struct {
	// Name is the pod's, and Node that of its node.
	Name, Node string
	// Folders are the volumes' folders, by the volumes' names.
	Folders map[string]string
	// Addresses are host:port for each port that a container of the pod has, by number.
	Addresses map[int32]string
}

var (
	variable = regexp.MustCompile(`\$\(([A-Za-z0-9_]+)\)`)
	// location is a path as an argument has it: by itself, after a flag's name, or as the address of a socket.
	location = regexp.MustCompile(`^(|--?[a-z0-9-]+=)(|unix://)(/[^:]*)$`)
	listens  = regexp.MustCompile(`^(--?[a-z0-9-]+=):([0-9]+)$`)
)

// Arguments returns a container's arguments as the kubelet would pass them, with the paths below its mounts and the ports
// that it listens on replaced by those of the place. It returns ErrMissing if an argument has a variable that isn't set, or
// a path or a port that the container doesn't have.
func (r *Rendered) Arguments(pod Pod, container string, place Place) ([]string, error) {
	c, err := pod.Container(container)
	if err != nil {
		return nil, err
	}
	environment, err := r.environment(pod, c, place)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", container, err)
	}
	var arguments []string
	for _, argument := range c.Args {
		unset := ""
		argument = variable.ReplaceAllStringFunc(argument, func(use string) string {
			value, set := environment[variable.FindStringSubmatch(use)[1]]
			if !set {
				unset = use
			}
			return value
		})
		if unset != "" {
			return nil, fmt.Errorf("container %s: %w variable %s", container, ErrMissing, unset)
		}
		if argument, err = place.localize(pod, c, argument); err != nil {
			return nil, fmt.Errorf("container %s, argument %s: %w", container, argument, err)
		}
		arguments = append(arguments, argument)
	}
	return arguments, nil
}

func (r *Rendered) environment(pod Pod, container corev1.Container, place Place) (map[string]string, error) {
	values := map[string]string{}
	for _, source := range container.EnvFrom {
		if source.ConfigMapRef == nil {
			return nil, fmt.Errorf("%w way to read variables from anything but a ConfigMap", ErrMissing)
		}
		configMap, found := r.configMaps[source.ConfigMapRef.Name]
		if !found {
			return nil, fmt.Errorf("%w ConfigMap %s", ErrMissing, source.ConfigMapRef.Name)
		}
		maps.Copy(values, configMap.Data)
	}
	fields := map[string]string{"metadata.name": place.Name, "metadata.namespace": pod.Namespace, "metadata.uid": "uid-of-" + place.Name, "spec.nodeName": place.Node}
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil {
			if from.FieldRef == nil || fields[from.FieldRef.FieldPath] == "" {
				return nil, fmt.Errorf("%w value for the variable %s", ErrMissing, variable.Name)
			}
			value = fields[from.FieldRef.FieldPath]
		}
		values[variable.Name] = value
	}
	return values, nil
}

// localize replaces the path or the port in an argument by that of the place.
func (p Place) localize(pod Pod, container corev1.Container, argument string) (string, error) {
	if found := listens.FindStringSubmatch(argument); found != nil {
		for _, port := range container.Ports {
			if strconv.Itoa(int(port.ContainerPort)) == found[2] && p.Addresses[port.ContainerPort] != "" {
				return found[1] + p.Addresses[port.ContainerPort], nil
			}
		}
		return argument, fmt.Errorf("%w port %s", ErrMissing, found[2])
	}
	found := location.FindStringSubmatch(argument)
	if found == nil {
		return argument, nil
	}
	best, folder := "", ""
	for _, mount := range container.VolumeMounts {
		below := found[3] == mount.MountPath || strings.HasPrefix(found[3], mount.MountPath+"/")
		if below && len(mount.MountPath) > len(best) {
			best, folder = mount.MountPath, p.Folders[mount.Name]
		}
	}
	for _, volume := range pod.Spec.Volumes {
		// A path of the host, which the kubelet is told.
		if host := volume.HostPath; folder == "" && host != nil && strings.HasPrefix(found[3], host.Path+"/") {
			best, folder = host.Path, p.Folders[volume.Name]
		}
	}
	if folder == "" {
		return argument, fmt.Errorf("%w volume at the path %s", ErrMissing, found[3])
	}
	return found[1] + found[2] + path.Join(folder, strings.TrimPrefix(found[3], best)), nil
}
