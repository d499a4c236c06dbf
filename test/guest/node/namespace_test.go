package node

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// networkOfAPod starts a process in a network namespace of its own, with a link to this one by which it reaches the address
// target. end ends the process and removes the link, as a container runtime does when a pod ends.
func networkOfAPod(t *testing.T, target string) (do func(func()), end func()) {
	t.Helper()
	pause := exec.CommandContext(t.Context(), "sleep", "1000")
	pause.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := pause.Start(); err != nil {
		t.Fatal(err)
	}
	process := strconv.Itoa(pause.Process.Pid)
	end = func() {
		_, _ = pause.Process.Kill(), pause.Wait()
		_ = exec.Command("ip", "link", "delete", "pod0").Run() //nolint:noctx // it is done at once
	}
	t.Cleanup(func() {
		end()
		_ = exec.Command("ip", "address", "delete", target+"/32", "dev", "lo").Run() //nolint:noctx // it is done at once
	})
	for _, command := range []string{
		"ip link add pod0 type veth", // the kernel calls the other end veth0
		"ip link set veth0 netns " + process,
		"ip address add 192.0.2.1/24 dev pod0",
		"ip link set pod0 up",
		"ip address add " + target + "/32 dev lo",
		"nsenter -t " + process + " -n ip address add 192.0.2.2/24 dev veth0",
		"nsenter -t " + process + " -n ip link set veth0 up",
		"nsenter -t " + process + " -n ip route add default via 192.0.2.1",
	} {
		words := strings.Fields(command)
		if output, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, output)
		}
	}
	return func(do func()) { inNamespace(t, "/proc/"+process+"/ns/net", do) }, end
}

// inNamespace does something in another network namespace.
func inNamespace(t *testing.T, path string, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	enter := func(path string) (enter func()) {
		namespace, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			defer func() { _ = namespace.Close() }()
			if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
				t.Fatal(err)
			}
		}
	}
	leave := enter("/proc/thread-self/ns/net")
	enter(path)()
	do()
	leave()
}

// source is the address from which a controller's connection comes.
func source(controller string) string {
	address, _ := os.ReadFile("/sys/class/nvme/" + controller + "/address")
	_, found, _ := strings.Cut(strings.TrimSpace(string(address)), "src_addr=")
	return found
}

// The kernel makes a connection in the network namespace of the process that asks for it, but makes it anew in the host's. So
// the connection of a pod with a network of its own breaks when the pod ends, which one that was made on the host doesn't.
func TestAConnectionBreaksWithTheNetworkOfThePodThatMadeIt(t *testing.T) {
	const target = "198.51.100.1"
	r := newRig(t, world.Options{})
	inPod, end := networkOfAPod(t, target)
	connect := func(name string, in func(func())) string {
		v := r.create(t, name, "block", nil)
		v.attach(t, world.NodeA)
		controller := ""
		in(func() {
			var err error
			controller, err = world.ConnectTo(target+":4420", v.nqn(), nvme.HostOf("machine-a"), "keep_alive_tmo=2", "reconnect_delay=2", "ctrl_loss_tmo=-1")
			if err != nil {
				t.Errorf("connect %s: %v", name, err)
			}
		})
		world.Eventually(t, name+" has a device", func() bool { return world.Device(v.nqn()) != "" })
		return controller
	}
	pods, hosts := connect("pvc-pod", inPod), connect("pvc-host", func(do func()) { do() })
	if got := [2]string{source(pods), source(hosts)}; got != [2]string{"192.0.2.2", target} {
		t.Fatalf("connected from %q, want one from the pod and one from the host", got)
	}
	end()
	hostsStays := func() {
		if state := world.State(hosts); state != "live" {
			t.Errorf("the connection that was made on the host is %q", state)
		}
	}
	world.Eventually(t, "the pod's connection breaks", func() bool { hostsStays(); return world.State(pods) != "live" })
	world.Eventually(t, "the kernel makes it anew", func() bool { hostsStays(); return world.State(pods) == "live" })
	if got := source(pods); got != target {
		t.Errorf("made anew from %q, want from the host", got)
	}
}
