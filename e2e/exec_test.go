package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// lanyardExec runs "lanyard exec" with the arguments.
func lanyardExec(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), filepath.Join(world.bin, "lanyard"), append([]string{"exec"}, args...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), complaints.String(), code
}

// TestExec runs each language's program as an identity, by the credentials that
// a program on a machine of Azure's would use.
func TestExec(t *testing.T) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			group := newGroup(t)
			reader, stranger := newIdentity(t, group, "reader-"+group), newIdentity(t, group, "stranger")
			vault := newVault(t, group)
			setSecret(t, vault, "greeting", "hello")
			assign(t, *vault.ID+"/secrets/greeting", roleSecretsUser, *reader.Properties.PrincipalID)
			kinds := []string{"managed", "default"}
			if l.name == "Go" {
				kinds = append(kinds, "chained")
			}
			for _, kind := range kinds {
				// By name, client ID and resource ID.
				for _, reference := range []string{*reader.Name, *reader.Properties.ClientID, *reader.ID} {
					out, complaints, code := lanyardExec(t, append([]string{"--identity", reference, "--"}, l.program(vault, kind)...)...)
					if code != 0 || out != "hello" {
						t.Errorf("%s as %s: exit code %d, %q\n%s", kind, reference, code, out, complaints)
					}
				}
			}
			_, complaints, code := lanyardExec(t, append([]string{"--identity", *stranger.ID, "--"}, l.program(vault, "managed")...)...)
			if code != 1 || !strings.Contains(complaints, "not authorized to perform action") {
				t.Errorf("the identity without the role: exit code %d\n%s", code, complaints)
			}
			out, complaints, code := lanyardExec(t, append([]string{"--identity", *reader.ID, "--service-account", "e2e/" + group,
				"--issuer", world.cluster.url("main"), "--signing-key", world.cluster.keyFile(t, "main"), "--"}, l.program(vault, "workload")...)...)
			if code != 1 || !strings.Contains(complaints, "AADSTS700213") {
				t.Errorf("a service account that is not trusted: exit code %d, %q\n%s", code, out, complaints)
			}
			trust(t, group, *reader.Name, "system:serviceaccount:e2e:"+group)
			out, complaints, code = lanyardExec(t, append([]string{"--identity", *reader.ID, "--service-account", "e2e/" + group,
				"--issuer", world.cluster.url("main"), "--signing-key", world.cluster.keyFile(t, "main"), "--"}, l.program(vault, "workload")...)...)
			if code != 0 || out != "hello" {
				t.Errorf("as a workload: exit code %d, %q\n%s", code, out, complaints)
			}
		})
	}
}

// TestExecPassesThrough checks what a program finds and leaves behind: its exit
// code, its own variables, none of the operator's credentials.
func TestExecPassesThrough(t *testing.T) {
	who := newIdentity(t, newGroup(t), "who")
	t.Setenv("OF_MY_OWN", "kept")
	out, _, code := lanyardExec(t, "--identity", *who.ID, "--", "sh", "-c", "env; exit 42")
	if code != 42 {
		t.Errorf("exit code %d, want 42", code)
	}
	if strings.Contains(out, world.env.Bootstrap.ClientSecret) || strings.Contains(out, "AZURE_CLIENT_SECRET") || strings.Contains(out, "LANYARD_ENV_FILE") {
		t.Error("the program can become the operator")
	}
	if !strings.Contains(out, "OF_MY_OWN=kept") || !strings.Contains(out, "AZURE_CLIENT_ID="+*who.Properties.ClientID) {
		t.Errorf("the program's environment:\n%s", out)
	}
	if _, _, code := lanyardExec(t, "--identity", *who.ID, "--", "sh", "-c", "kill -TERM $$"); code != 128+15 {
		t.Errorf("ended by SIGTERM: exit code %d, want 143", code)
	}
	if _, complaints, code := lanyardExec(t, "--identity", "nobody-of-that-name", "--", "true"); code != 1 || !strings.Contains(complaints, "no such user-assigned identity") {
		t.Errorf("an unknown identity: exit code %d\n%s", code, complaints)
	}
}

// TestNobodyRetriesARefusal has each SDK meet refusals that will not change, and
// counts what it asked: one request, not a backoff of many seconds.
func TestNobodyRetriesARefusal(t *testing.T) {
	group := newGroup(t)
	who := newIdentity(t, group, "who")
	vault := newVault(t, group)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			l.available(t)
			before := refusals(t, "700016")
			if got, err := l.readSecret(t, vault, "workload", "AZURE_CLIENT_ID=33333333-3333-3333-3333-333333333333",
				"AZURE_FEDERATED_TOKEN_FILE="+world.cluster.tokenFile(t, assertion{subject: who.subject})); err == nil || !strings.Contains(got, "AADSTS700016") {
				t.Errorf("an unknown client: %v\n%s", err, got)
			}
			if after := refusals(t, "700016"); after != before+1 {
				t.Errorf("an unknown client asked %d times", after-before)
			}
			_, complaints, code := lanyardExec(t, append([]string{"--identity", *who.ID, "--", "env", "AZURE_CLIENT_ID=33333333-3333-3333-3333-333333333333"},
				l.program(vault, "managed")...)...)
			if code != 1 || !strings.Contains(complaints, "Identity not found") {
				t.Errorf("an identity that the machine has not: exit code %d\n%s", code, complaints)
			}
		})
	}
}

// refusals counts, by the cloud's own metrics, the tokens refused with a number.
func refusals(t *testing.T, number string) int {
	t.Helper()
	address := "https://" + world.env.Domain + world.env.Listen[strings.LastIndex(world.env.Listen, ":"):] + "/metrics"
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(wantStatus(t, r, http.StatusOK).Body)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range regexp.MustCompile(`(?m)^lanyard_tokens_total\{.*result="`+number+`"\} (\d+)$`).FindAllStringSubmatch(string(metrics), -1) {
		count, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		total += count
	}
	return total
}

// TestExecJava has Java trust the cloud's authority beside the system's, by its
// default trust manager, which every HTTP client of Java's asks.
func TestExecJava(t *testing.T) {
	if _, err := exec.LookPath("java"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have java (Debian's default-jdk-headless)")
		}
		t.Skip("NOT TESTED: this machine lacks java (Debian's default-jdk-headless)")
	}
	who := newIdentity(t, newGroup(t), "who")
	source := filepath.Join(t.TempDir(), "Trust.java")
	if err := os.WriteFile(source, []byte(`
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Trust {
  public static void main(String[] args) throws Exception {
    TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init((KeyStore) null);
    int all = 0, ours = 0;
    for (X509Certificate c : ((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers()) {
      all++;
      if (c.getSubjectX500Principal().getName().contains("Lanyard")) ours++;
    }
    System.out.println(ours == 1 && all > 50 ? "trusted" : ours + " of " + all);
  }
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_TOOL_OPTIONS", "-Xmx128m")
	out, complaints, code := lanyardExec(t, "--identity", *who.ID, "--", "java", source)
	if code != 0 || out != "trusted" {
		t.Fatalf("exit code %d, %q\n%s", code, out, complaints)
	}
	if !strings.Contains(complaints, "-Xmx128m -Djavax.net.ssl.trustStore=") {
		t.Errorf("the caller's own options are lost:\n%s", complaints)
	}
}
