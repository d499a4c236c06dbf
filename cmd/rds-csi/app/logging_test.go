package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	logs "k8s.io/component-base/logs/api/v1"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// asMain has this test binary run Main: a process has one log, so that each way to log needs a process of its own.
const asMain = "RDS_CSI_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		os.Exit(Main(os.Args[0], os.Args[1:]))
	}
	// Tests that run Main in this process apply the same flags, those of the log, again and again.
	logs.ReapplyHandling = logs.ReapplyHandlingIgnoreUnchanged
	os.Exit(m.Run())
}

// logOf returns what a controller with these flags logs while a volume is made, published and unpublished.
func logOf(t *testing.T, flags ...string) []string {
	t.Helper()
	arguments, socket := flagsFor(t)
	line := []string{"controller"}
	for name, value := range arguments {
		line = append(line, "--"+name+"="+value)
	}
	process := exec.CommandContext(t.Context(), os.Args[0], append(line, flags...)...)
	process.Env = append(os.Environ(), asMain+"=1")
	var lines []string
	stderr, err := process.StderrPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			lines = append(lines, scanner.Text())
		}
	}()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-read
		_ = conn.Close() // what waits for a process that has ended waits in vain
	}()
	if err := createVolume(t, conn); err != nil {
		t.Error(err)
	}
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, "pvc-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := csi.NewControllerClient(conn).ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{
		VolumeId: id.String(), NodeId: "node-a/machine-a", VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
	}); err != nil {
		t.Error(err)
	}
	// One that fails, so that an error is logged.
	if _, err := csi.NewControllerClient(conn).ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id.String(), NodeId: "node-a/machine-a"}); err == nil {
		t.Error("a request without a capability: want an error")
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-read
	if err := process.Wait(); err != nil {
		t.Errorf("the process: %v, logged\n%s", err, strings.Join(lines, "\n"))
	}
	return lines
}

func TestEveryLineOfTheJSONLogIsAnObjectWithItsKeys(t *testing.T) {
	var published, failed bool
	for _, line := range logOf(t, "--logging-format=json", "--v=4") {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v: %s", err, line)
			continue
		}
		if _, found := entry["ts"].(float64); !found || entry["msg"] == "" {
			t.Errorf("no time or no message: %s", line)
		}
		volume, _ := entry["volume"].(string)
		about := strings.HasPrefix(volume, simtest.Pool+"/rds-csi/") && entry["node"] == "node-a/machine-a"
		published = published || entry["msg"] == "Published volume" && about
		failed = failed || entry["msg"] == "Call failed" && about && entry["err"] != nil
	}
	if !published || !failed {
		t.Errorf("published %t, failed %t: want a line of each, with volume and node", published, failed)
	}
}

// What ends a process is the line that matters most.
func TestAFailureIsALineOfTheJSONLog(t *testing.T) {
	process := exec.CommandContext(t.Context(), os.Args[0], "node", "--node-name=n", "--machine-id=m", "--endpoint=unix:///no/such/folder/csi.sock", "--logging-format=json")
	process.Env = append(os.Environ(), asMain+"=1")
	output, err := process.CombinedOutput()
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.ExitCode() != exitFailed {
		t.Errorf("got %v, want exit code %d", err, exitFailed)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	var entry map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &entry); err != nil || entry["err"] == nil || entry["process"] != "rds-csi node" {
		t.Errorf("%v: %s", err, output)
	}
}

func TestTheTextLogIsAsLoudAsItIsTold(t *testing.T) {
	for flag, want := range map[string]bool{"--v=0": false, "--v=4": true, "-v=4": true, "--vmodule=interceptor=4": true, "--vmodule=publish=4": false} {
		t.Run(flag, func(t *testing.T) {
			lines := logOf(t, flag)
			header := regexp.MustCompile(`^[IE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [a-z]+\.go:\d+\] "`)
			for _, line := range lines {
				if !header.MatchString(line) {
					t.Errorf("no line of klog's text format: %s", line)
				}
			}
			if got := slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, `"Call done"`) }); got != want {
				t.Errorf("calls are logged: %t, want %t:\n%s", got, want, strings.Join(lines, "\n"))
			}
		})
	}
}

// klog's own flags have had no effect in Kubernetes for years, and the format is one of two.
func TestFlagsOfTheLogThatMeanNothingAreRefused(t *testing.T) {
	for _, flag := range []string{"--logtostderr=true", "--log_dir=/tmp", "--stderrthreshold=2", "--logging-format=xml", "--log-json-split-stream"} {
		arguments, _ := flagsFor(t)
		line := []string{"controller", flag}
		for name, value := range arguments {
			line = append(line, "--"+name+"="+value)
		}
		told := stderrOf(t, exitUsage, func() int { return Main("rds-csi", line) })
		if name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "="); strings.Count(told, "\n") != 1 || !strings.Contains(told, name) {
			t.Errorf("%s: got %q, want one line that names the flag", flag, told)
		}
	}
}
