package workloadidentity

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Whoever may make pods in one namespace, or reaches the webhook's port, must not
// be able to stop it for all: it has some memory, and pods are not validated yet
// when it sees them.

// repeated is a JSON list of n times an element.
func repeated(element string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

// allocated is how much memory f takes in all, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestElementsAreBounded: of three bytes each, elements take thirty times as much
// when they are read.
func TestElementsAreBounded(t *testing.T) {
	const n = 2 << 20 // as many as a review has room for
	for name, pod := range map[string]string{
		"containers":  `{"spec":{"containers":` + repeated(`{}`, n) + `}}`,
		"variables":   `{"spec":{"containers":[{"env":` + repeated(`{}`, n) + `}]}}`,
		"mounts":      `{"spec":{"initContainers":[{"volumeMounts":` + repeated(`{}`, n) + `}]}}`,
		"many lists":  `{"spec":{"containers":` + repeated(`{"env":`+repeated(`{}`, 40)+`}`, n/40) + `}}`,
		"volumes":     `{"spec":{"volumes":` + repeated(`{}`, n) + `}}`,
		"sources":     `{"spec":{"volumes":[{"projected":{"sources":` + repeated(`{}`, n) + `}}]}}`,
		"hosts":       `{"spec":{"hostAliases":[{"hostnames":` + repeated(`""`, n) + `}]}}`,
		"annotations": `{"metadata":{"annotations":{` + annotations(n/4) + `}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			body := review(pod)
			var err error
			took := allocated(func() { _, err = ParseReview(body) })
			if err == nil || !strings.Contains(err.Error(), "elements") {
				t.Errorf("the error is %v", err)
			}
			if took > 32<<20 {
				t.Errorf("a review of %d bytes takes %d", len(body), took)
			}
		})
	}
}

func annotations(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d":"",`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// TestAnswersAreBounded: every container gets variables, whose values service
// accounts have a part in.
func TestAnswersAreBounded(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	sa := ServiceAccountOf("ns", "app", map[string]string{ClientIDAnnotation: long, TenantIDAnnotation: long, ExpirationAnnotation: "3600"})
	settings := testSettings(t, nil)
	pod := func(n int) *Pod {
		return parsePod(t, `{"spec":{"containers":`+repeated(`{"name":"a"}`, n)+`}}`)
	}
	m, err := Decide(pod(maxContainers), sa, settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Patch.AppendJSON(nil)); n > 4<<20 {
		t.Errorf("the patch of a pod of %d containers has %d bytes", maxContainers, n)
	}
	_, err = Decide(pod(maxContainers+1), sa, settings, nil)
	if denial, ok := errors.AsType[*DenialError](err); !ok || !strings.Contains(denial.Message, strconv.Itoa(maxContainers)) {
		t.Errorf("a pod of more containers: %v", err)
	}
}

// TestListsInAnnotations: a quarter of a megabyte of names, none of which is a
// container's. Each compared with each, and with each container, it would take
// minutes.
func TestListsInAnnotations(t *testing.T) {
	var names strings.Builder
	for i := range 48_000 {
		fmt.Fprintf(&names, "%x;", i)
	}
	pod := parsePod(t, `{"metadata":{"annotations":{"`+SkipContainersAnnotation+`":"`+names.String()+`"}},"spec":{"containers":`+repeated(`{"name":"a"}`, maxContainers)+`}}`)
	m, err := Decide(pod, annotated(), testSettings(t, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Warnings); n == 0 || n > maxWarnings {
		t.Errorf("%d warnings", n)
	}
}

// TestDenialsAreShort: they may quote the pod.
func TestDenialsAreShort(t *testing.T) {
	for _, annotation := range []string{PodClientIDAnnotation, ExpirationAnnotation, AuthorityAnnotation, TrustAnnotation} {
		pod := parsePod(t, `{"metadata":{"annotations":{"`+annotation+`":"`+strings.Repeat("é", 100<<10)+`"}},"spec":{"containers":[]}}`)
		_, err := Decide(pod, annotated(), cloudSettings(t, nil), nil)
		if err == nil || len(err.Error()) > 1024 {
			t.Errorf("%s: %.100v, %d bytes", annotation, err, len(err.Error()))
		}
	}
}

// TestAnnotationsAreNoExpressions: Kubernetes replaces $(NAME) in a variable's value
// by the container's variable of that name. Who annotates service accounts would
// have a pod's secrets sent as the client ID, or in the token endpoint's address.
func TestAnnotationsAreNoExpressions(t *testing.T) {
	sa := ServiceAccountOf("ns", "app", map[string]string{ClientIDAnnotation: "$(PASSWORD)", TenantIDAnnotation: "x$$(PASSWORD).$(HOME)"})
	out, _ := mutate(t, `{"spec":{"containers":[{"name":"a","env":[{"name":"PASSWORD","value":"hunter2"}]}]}}`, sa, testSettings(t, nil))
	env := map[string]string{"PASSWORD": "hunter2", "HOME": "/root"}
	for name, want := range map[string]string{envClientID: "$(PASSWORD)", envTenantID: "x$$(PASSWORD).$(HOME)"} {
		var value string
		for _, e := range at(t, out, "spec", "containers", 0, "env").([]any) {
			if e := e.(map[string]any); e["name"] == name {
				value = e["value"].(string)
			}
		}
		if got := expand(value, env); got != want {
			t.Errorf("%s is %q for the container, want %q as it is annotated", name, got, want)
		}
	}
}

// expand does what the kubelet does with a variable's value: $(NAME) is the value of
// a variable that is there, $$ is a dollar, and all else is as it is.
func expand(value string, env map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '$' || i+1 == len(value) {
			out.WriteByte(value[i])
			continue
		}
		switch i++; value[i] {
		case '$':
			out.WriteByte('$')
		case '(':
			name, _, closed := strings.Cut(value[i+1:], ")")
			if !closed {
				out.WriteString("$(")
				continue
			}
			if v, ok := env[name]; ok {
				out.WriteString(v)
			} else {
				out.WriteString("$(" + name + ")")
			}
			i += len(name) + 1
		default:
			out.WriteByte('$')
			out.WriteByte(value[i])
		}
	}
	return out.String()
}
