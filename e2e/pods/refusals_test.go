package pods

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestRefusals: each way of being somebody else has its own answer.
func TestRefusals(t *testing.T) {
	subject := func(namespace, account string) string { return "system:serviceaccount:" + namespace + ":" + account }
	for _, tt := range []struct {
		name, number string
		trust        func(s site, namespace string)
	}{
		{"another namespace", "AADSTS700213", func(s site, _ string) {
			s.trustSubject(t, "app", world.issuer, subject("somewhere-else", "app"), audience)
		}},
		{"another service account", "AADSTS700213", func(s site, namespace string) {
			s.trustSubject(t, "app", world.issuer, subject(namespace, "App"), audience)
		}},
		{"another audience", "AADSTS700212", func(s site, namespace string) {
			s.trustSubject(t, "app", world.issuer, subject(namespace, "app"), "api://somebody-else")
		}},
		{"the same name in another cluster", "AADSTS700211", func(s site, namespace string) {
			other := strings.TrimSuffix(world.issuer, "/")
			other = other[:strings.LastIndex(other, "/")+1] + uuid.NewString() + "/"
			s.trustSubject(t, "app", other, subject(namespace, "app"), audience)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := world.Get(t).Namespace(t, nil)
			s := newSite(t)
			tt.trust(s, n.Name)
			n.Apply(s.account("app") + "---" + pod("app", podSpec{account: "app", containers: []string{s.reader("main", "greeting", "workload")}}))
			wantRefusal(t, n, "app", "main", tt.number)
		})
	}
}

// TestForbiddenSecret: being somebody is not yet being allowed.
func TestForbiddenSecret(t *testing.T) {
	n, s := newApp(t)
	n.Apply(pod("app", podSpec{account: "app", containers: []string{s.reader("main", "forbidden", "workload")}}))
	wantRefusal(t, n, "app", "main", "403", "ForbiddenByRbac")
}

// TestRevocation: when the federated credential goes, the pod gets no token any
// more, and within a second of it whoever makes the next pod is warned: the agent
// knows.
func TestRevocation(t *testing.T) {
	n, s := newApp(t)
	manifest := func(name string) string {
		return pod(name, podSpec{account: "app", containers: []string{container("main", steadyImage, s.vault, "greeting")}})
	}
	if warned := applyWarnings(t, n.Name, manifest("before")); len(warned) > 0 {
		t.Errorf("warned before there was reason: %q", warned)
	}
	waitReads(t, n, "before", "main", 3)
	s.distrust(t, "app")
	gone := time.Now()
	var warned []string
	n.Eventually("a warning of the missing credential", func(context.Context) (bool, string) {
		warned = applyWarnings(t, n.Name, manifest("w-"+uuid.NewString()[:8]))
		return len(warned) > 0, "no warning"
	})
	t.Logf("the agent knew after %s at most", time.Since(gone))
	if text := strings.Join(warned, "\n"); !strings.Contains(text, "system:serviceaccount:"+n.Name+":app") || !strings.Contains(text, world.issuer) {
		t.Errorf("the warning does not say what is missing: %q", warned)
	}
	n.Eventually("the pod to be refused", func(context.Context) (bool, string) {
		now := firstFailure(tallies(t, n, "before", "main"))
		return strings.Contains(now.Error, "AADSTS70"), now.Error
	})
	// Every reading signs in anew: none succeeds after the first refusal.
	all := tallies(t, n, "before", "main")
	for i, one := range all {
		if one.Error != "" {
			if last := all[len(all)-1]; last.Reads-last.Failures != one.Reads-one.Failures {
				t.Errorf("after %+v came a success: %+v", all[i], last)
			}
			break
		}
	}
}
