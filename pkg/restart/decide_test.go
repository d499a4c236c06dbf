package restart

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/volumehealth"
)

// ofSet is a pod of one controller, well.
func ofSet(name string) Pod {
	return Pod{
		Namespace: "ns", Name: name, UID: "uid-of-" + name, ResourceVersion: "1", Mounted: true, Ready: true,
		Controller: Controller{Kind: "ReplicaSet", Name: "web", UID: "uid-of-web"},
	}
}

func but(pod Pod, changes ...func(*Pod)) Pod {
	for _, change := range changes {
		change(&pod)
	}
	return pod
}

func reports(reasons ...string) func(*Pod) {
	return func(p *Pod) {
		for _, reason := range reasons {
			p.Reports = append(p.Reports, Report{Volume: "data", Claim: "claim", Reason: reason})
		}
	}
}

func lost(p *Pod)         { reports(volumehealth.DeviceReplaced)(p) }
func notReady(p *Pod)     { p.Ready = false }
func terminating(p *Pod)  { p.Terminating = true }
func ended(p *Pod)        { p.Ended, p.Ready = true, false }
func unmounted(p *Pod)    { p.Mounted, p.Ready = false, false }
func mirror(p *Pod)       { p.Mirror = true }
func noController(p *Pod) { p.Controller = Controller{} }

func TestDecideAboutThePodItself(t *testing.T) {
	for name, test := range map[string]struct {
		change []func(*Pod)
		want   Action
		reason string
	}{
		"well":                              {nil, ActionNone, ""},
		"connection lost":                   {[]func(*Pod){reports(volumehealth.ConnectionLost)}, ActionRestart, volumehealth.ConnectionLost},
		"device replaced":                   {[]func(*Pod){reports(volumehealth.DeviceReplaced)}, ActionRestart, volumehealth.DeviceReplaced},
		"filesystem shut down":              {[]func(*Pod){reports(volumehealth.FilesystemShutDown)}, ActionRestart, volumehealth.FilesystemShutDown},
		"filesystem read only":              {[]func(*Pod){reports(volumehealth.FilesystemReadOnly)}, ActionRestart, volumehealth.FilesystemReadOnly},
		"I/O waits":                         {[]func(*Pod){reports(volumehealth.ConnectionBroken)}, ActionNone, ""},
		"a reason of a later version":       {[]func(*Pod){reports("Tired")}, ActionNone, ""},
		"replaced, and the new one waits":   {[]func(*Pod){reports(volumehealth.ConnectionBroken, volumehealth.DeviceReplaced)}, ActionRestart, volumehealth.DeviceReplaced},
		"lost and not Ready":                {[]func(*Pod){lost, notReady}, ActionRestart, volumehealth.DeviceReplaced},
		"lost, being deleted":               {[]func(*Pod){lost, terminating}, ActionNone, ""},
		"lost, ended":                       {[]func(*Pod){lost, ended}, ActionNone, ""},
		"lost, volumes not mounted yet":     {[]func(*Pod){lost, unmounted}, ActionNone, ""},
		"lost, shows a static pod":          {[]func(*Pod){lost, mirror}, ActionNone, ""},
		"lost, no controller":               {[]func(*Pod){lost, noController}, ActionNoController, volumehealth.DeviceReplaced},
		"I/O waits, no controller":          {[]func(*Pod){reports(volumehealth.ConnectionBroken), noController}, ActionNone, ""},
		"lost, no controller, shows static": {[]func(*Pod){lost, noController, mirror}, ActionNone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			action, report := Decide(but(ofSet("a"), test.change...), nil, 0, 0.25)
			if action != test.want || report.Reason != test.reason {
				t.Errorf("got %s for %q, want %s for %q", action, report.Reason, test.want, test.reason)
			}
		})
	}
}

// A lost pod among others of its workload: how many are being restarted decides.
func TestDecideLeavesTheRestOfAWorkloadAlone(t *testing.T) {
	others := func(count int, changes ...func(*Pod)) []Pod {
		var pods []Pod
		for i := range count {
			pods = append(pods, but(ofSet(fmt.Sprint("other-", i, len(changes))), changes...))
		}
		return pods
	}
	for name, test := range map[string]struct {
		others  []Pod
		missing int
		share   float64
		want    Action
	}{
		"alone":                                     {nil, 0, 0.25, ActionRestart},
		"alone, the smallest share":                 {nil, 0, 1e-6, ActionRestart},
		"alone, and another one is missing":         {nil, 1, 0.25, ActionWait},
		"all of three lost":                         {others(2, lost), 0, 0.25, ActionRestart},
		"all of three lost and not Ready":           {others(2, lost, notReady), 0, 0.25, ActionRestart},
		"one of three is being deleted":             {others(2, terminating), 0, 0.25, ActionWait},
		"a lost one is being deleted":               {others(1, lost, terminating), 0, 0.25, ActionWait},
		"one isn't Ready":                           {others(1, notReady), 0, 0.25, ActionWait},
		"one isn't mounted yet, and reported":       {others(1, lost, unmounted), 0, 0.25, ActionWait},
		"one waits for I/O and isn't Ready":         {others(1, reports(volumehealth.ConnectionBroken), notReady), 0, 0.25, ActionWait},
		"one waits for I/O and is Ready":            {others(1, reports(volumehealth.ConnectionBroken)), 0, 0.25, ActionRestart},
		"those that have ended don't count":         {others(5, ended), 0, 0.25, ActionRestart},
		"and don't make the workload larger":        {append(others(1, terminating), others(9, ended)...), 0, 0.25, ActionWait},
		"a quarter of 8 is 2, one is away":          {append(others(6), others(1, terminating)...), 0, 0.25, ActionRestart},
		"a quarter of 8 is 2, two are away":         {append(others(5), others(2, terminating)...), 0, 0.25, ActionWait},
		"a quarter of 7 is 1, one is away":          {append(others(5), others(1, terminating)...), 0, 0.25, ActionWait},
		"missing ones belong to the 8":              {others(6), 1, 0.25, ActionRestart},
		"missing ones are away":                     {others(5), 2, 0.25, ActionWait},
		"all at once":                               {append(others(1), others(6, terminating)...), 0, 1, ActionRestart},
		"29 of 100, 28 are away":                    {append(others(71), others(28, terminating)...), 0, 0.29, ActionRestart},
		"29 of 100, 29 are away":                    {append(others(70), others(29, terminating)...), 0, 0.29, ActionWait},
		"one may at a share that comes to less":     {others(99), 0, 0.001, ActionRestart},
		"but no second at a share that is too less": {append(others(98), others(1, terminating)...), 0, 0.001, ActionWait},
	} {
		t.Run(name, func(t *testing.T) {
			if action, _ := Decide(but(ofSet("a"), lost), test.others, test.missing, test.share); action != test.want {
				t.Errorf("got %s, want %s", action, test.want)
			}
		})
	}
}

// Whatever comes in: a pod is deleted only if it is lost, has a controller, and at most the share of all that are there,
// or it alone, is away with it.
func TestDecideNeverExceedsTheShare(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	changes := []func(*Pod){lost, notReady, terminating, ended, unmounted, mirror, noController, reports(volumehealth.ConnectionBroken)}
	deletions := 0
	for range 20000 {
		pod := ofSet("a")
		var others []Pod
		all, away := 1, 1
		for i := range random.IntN(12) {
			other := ofSet(strconv.Itoa(i))
			for _, change := range changes {
				if random.IntN(9) == 0 {
					change(&other)
				}
			}
			others = append(others, other)
			if other.Ended {
				continue
			}
			all++
			_, waits := other.lost()
			if other.Terminating || !other.Ready && !waits {
				away++
			}
		}
		for _, change := range changes {
			if random.IntN(6) == 0 {
				change(&pod)
			}
		}
		missing, share := random.IntN(3), random.Float64()
		all, away = all+missing, away+missing
		if action, report := Decide(pod, others, missing, share); action == ActionRestart {
			deletions++
			if report.Reason != volumehealth.DeviceReplaced || pod.Controller.UID == "" || pod.Terminating || pod.Ended || pod.Mirror || !pod.Mounted {
				t.Fatalf("would delete %+v for %+v", pod, report)
			}
			if away > 1 && float64(away) > share*float64(all)+rounding {
				t.Fatalf("would have %d of %d away, of which the share is %g", away, all, share)
			}
		}
	}
	if deletions < 200 {
		t.Errorf("%d of all pods would be deleted: that says little", deletions)
	}
}
