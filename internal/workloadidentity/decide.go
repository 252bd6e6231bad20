package workloadidentity

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lanyard-id/lanyard/internal/azure"
)

// Mutation is what the webhook does to a pod.
type Mutation struct {
	// Patch adds what the pod lacks. It is empty when the pod has all of it:
	// deciding again about a patched pod changes nothing.
	Patch Patch
	// Warnings are for whoever created the pod: mistakes that do not stop it.
	Warnings []string
	// Identity is the client ID that the pod's containers are told, "" if none.
	Identity string
	// Volume is the name of the token volume.
	Volume string
	// Containers says what each container gets, in the order of the pod, init
	// containers first.
	Containers []ContainerChange
	// Proxy is true when containers of the token proxy were added.
	Proxy bool
	// Authority is the authority host to which a Cloud's pod is led, whose route
	// must be known to end at the cloud; "" before Azure.
	Authority string
	// Trust is true when the pod needs TrustConfigMap in its namespace.
	Trust bool
}

// ContainerChange is what one container gets, and why not more.
type ContainerChange struct {
	Name string
	Init bool
	// Skipped: the pod's annotation names the container.
	Skipped bool
	// Env are the variables added. Those that the container has are left alone.
	Env []string
	// Mounted is true when the token's mount was added.
	Mounted bool
}

// DenialError is a pod that the webhook refuses: its message is for whoever made it.
type DenialError struct {
	// Code is the HTTP status by which the API server refuses the pod.
	Code    int
	Message string
}

func (d *DenialError) Error() string { return d.Message }

func deny(format string, args ...any) *DenialError {
	return &DenialError{Code: http.StatusBadRequest, Message: shorten(fmt.Sprintf(format, args...), maxMessage)}
}

// shorten cuts what is longer than some bytes, and shows that it did.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}

// decision is one call of Decide.
type decision struct {
	pod       *Pod
	sa        ServiceAccount
	settings  *Settings
	custom    *CustomTokenEndpoint // nil unless the pod chose it
	client    string               // the identity's client ID, "" if none is known
	tenant    string               // "" if the pod is not to know one
	languages []Language           // in which the pod comes to trust the cloud

	authority     string    // URL of the authority host
	authorityName string    // its host name, with a Cloud
	env           variables // what every container gets
	envTrusting   variables // and what one gets that has the cloud's authority
	volume        string
	mount         jsontext.Value
	skip          map[string]bool // names of containers
	out           Mutation
}

// Decide says what a pod gets. Settings must have been validated. federation may
// be nil: nothing is known then, and nothing follows from it. The error is always
// a *DenialError.
func Decide(pod *Pod, sa ServiceAccount, settings *Settings, federation Federation) (Mutation, error) {
	if pod == nil || pod.Spec == nil {
		return Mutation{}, deny("the pod has no spec")
	}
	if slices.Contains(pod.Spec.Containers, nil) || slices.Contains(pod.Spec.InitContainers, nil) {
		return Mutation{}, deny("a container of the pod is null")
	}
	if n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers); n > maxContainers {
		return Mutation{}, deny("the pod has %d containers; at most %d can have a workload identity", n, maxContainers)
	}
	d := &decision{pod: pod, sa: sa, settings: settings}
	if c := settings.CustomToken; c != nil && strings.EqualFold(pod.Metadata.Annotations[c.annotation()], "true") {
		if c.CADataConfigMap != "" && c.CAData == "" {
			return Mutation{}, &DenialError{Code: http.StatusServiceUnavailable, Message: fmt.Sprintf(
				"annotation %s: the token endpoint's authority is not known yet: config map %s of the webhook's namespace has no ca.crt", c.annotation(), c.CADataConfigMap)}
		}
		d.custom = c
	}
	port, err := d.proxyPort()
	if err != nil {
		return Mutation{}, err
	}
	expiration, err := d.expiration()
	if err != nil {
		return Mutation{}, err
	}
	if err := d.chooseIdentity(); err != nil {
		return Mutation{}, err
	}
	if err := d.chooseAuthority(); err != nil {
		return Mutation{}, err
	}
	if d.languages, err = d.trusted(); err != nil {
		return Mutation{}, err
	}
	d.variables()
	d.skip = d.skipped()
	d.warnAboutServiceAccount()
	d.warnAboutFederation(federation)
	if err := d.findVolume(expiration); err != nil {
		return Mutation{}, err
	}
	d.mount = d.mountValue()
	d.out.Identity, d.out.Volume, d.out.Trust = d.client, d.volume, len(d.languages) > 0
	d.out.Containers = make([]ContainerChange, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers))
	d.out.Patch = slices.Grow(d.out.Patch, 2+(1+len(d.envTrusting.names))*cap(d.out.Containers))
	d.containers("/spec/initContainers", pod.Spec.InitContainers, true)
	d.containers("/spec/containers", pod.Spec.Containers, false)
	d.hostAliases()
	// Last, since putting containers first moves the indexes of the others.
	if port != 0 {
		d.proxy(port)
	}
	return d.out, nil
}

// chooseIdentity settles client and tenant. The pod's own client ID counts before
// the service account's.
func (d *decision) chooseIdentity() error {
	d.client, d.tenant = d.sa.ClientID, d.settings.TenantID
	if d.sa.HasTenantID {
		d.tenant = d.sa.TenantID
	}
	if own, ok := d.pod.Metadata.Annotations[PodClientIDAnnotation]; ok {
		if !azure.IsGUID(own) {
			return deny("annotation %s is %q, which is not a GUID; it takes the identity's client ID", PodClientIDAnnotation, own)
		}
		d.client = own
	}
	return nil
}

// expiration gives the lifetime of the projected token in seconds. A value on
// the pod wins, so that a bad one on the service account does not count then.
func (d *decision) expiration() (int64, error) {
	value, where := d.pod.Metadata.Annotations[ExpirationAnnotation], "the pod"
	if value == "" {
		value, where = d.sa.Expiration, "the service account"
	} else if d.sa.Expiration != "" {
		if n, err := strconv.ParseInt(d.sa.Expiration, 10, 64); err != nil || n < MinExpiration || n > MaxExpiration {
			d.warnf("service account %q: annotation %s is %q, not %d to %d; only the pod's own annotation hides it",
				d.sa.Name, ExpirationAnnotation, d.sa.Expiration, MinExpiration, MaxExpiration)
		}
	}
	if value == "" {
		return DefaultExpiration, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, deny("annotation %s of %s: %v", ExpirationAnnotation, where, err)
	}
	if n < MinExpiration || n > MaxExpiration {
		return 0, deny("token expiration %d not valid. Expected value to be between %d and %d", n, MinExpiration, MaxExpiration)
	}
	return n, nil
}

// variables are environment variables, as JSON.
type variables struct {
	names []string
	json  []jsontext.Value
	array jsontext.Value // all of them, for a container that has none
}

// add adds a variable. One without a value is left out.
func (v *variables) add(name, value string) {
	if value != "" {
		v.names, v.json = append(v.names, name), append(v.json, nameAndValue(name, value))
	}
}

// variables settles those that containers get unless they have them.
func (d *decision) variables() {
	v := variables{names: make([]string, 0, 12), json: make([]jsontext.Value, 0, 12)}
	v.add(envClientID, literal(d.client))
	v.add(envTenantID, literal(d.tenant))
	v.add(envTokenFile, MountPath+"/"+TokenFilePath)
	v.add(envAuthorityHost, d.authority)
	if d.custom != nil {
		v.add(envTokenProxy, d.custom.TokenProxy)
		v.add(envSNIName, d.custom.SNIName)
		if d.custom.caInVolume() { // SDKs refuse two sources, and a file that is not there
			v.add(envCAFile, MountPath+"/"+CAFilePath)
		}
		v.add(envCAData, d.custom.CAData)
	}
	v.array = array(v.json)
	d.env = v
	for _, l := range d.languages {
		if name, value := l.variable(); !slices.Contains(v.names, name) {
			v.add(name, value)
		}
	}
	if len(v.names) > len(d.env.names) {
		v.array = array(v.json)
	}
	d.envTrusting = v
}

// literal keeps Kubernetes from expanding $(NAME) in a variable's value: whoever
// annotates a service account is not thereby to have the pod's other variables,
// which may be secrets, sent to the token service.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

func nameAndValue(name, value string) jsontext.Value {
	b := make([]byte, 0, len(name)+len(value)+24)
	b = appendString(append(b, `{"name":`...), name)
	b = appendString(append(b, `,"value":`...), value)
	return append(b, '}')
}

// skipped reads the list of containers to leave alone.
func (d *decision) skipped() map[string]bool {
	list := d.pod.Metadata.Annotations[SkipContainersAnnotation]
	if list == "" {
		return nil
	}
	names := strings.Split(list, ";")
	skip := make(map[string]bool, len(names))
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		skip[names[i]] = true
	}
	d.warnAboutSkips(names)
	return skip
}

// containers adds variables and mounts to the containers at a path.
func (d *decision) containers(at string, list []*Container, init bool) {
	for i, c := range list {
		change := ContainerChange{Name: c.Name, Init: init}
		if d.skip[c.Name] {
			change.Skipped = true
			d.out.Containers = append(d.out.Containers, change)
			continue
		}
		where := at + "/" + strconv.Itoa(i)
		env, state := &d.envTrusting, d.mounted(c)
		if state == mountedOtherwise {
			env = &d.env
		}
		change.Env = d.addEnv(where, c.Env, env)
		if change.Mounted = state == notMounted; change.Mounted {
			d.out.Patch.appendTo(where+"/volumeMounts", c.VolumeMounts != nil, []jsontext.Value{d.mount})
		}
		d.warnAboutHTTPProxy(c)
		d.warnAboutJava(c)
		d.out.Containers = append(d.out.Containers, change)
	}
}

// addEnv adds the variables that a container does not have, and gives their names.
func (d *decision) addEnv(container string, has []EnvVar, env *variables) []string {
	if has == nil && len(env.names) > 0 {
		d.out.Patch = append(d.out.Patch, Operation{Path: container + "/env", Value: env.array})
		return env.names
	}
	at := container + "/env/-"
	var added []string
	for i, name := range env.names {
		if hasVariable(has, name) {
			continue
		}
		d.out.Patch = append(d.out.Patch, Operation{Path: at, Value: env.json[i]})
		if added == nil {
			added = make([]string, 0, len(env.names)-i)
		}
		added = append(added, name)
	}
	return added
}

func hasVariable(env []EnvVar, name string) bool {
	return slices.ContainsFunc(env, func(e EnvVar) bool { return e.Name == name })
}

// mountState is how a container has the token volume.
type mountState int

const (
	notMounted       mountState = iota
	mounted                     // at MountPath
	mountedOtherwise            // elsewhere, or something else lies at MountPath
)

// mounted tells whether the token volume is mounted already, and whether the
// container has something else in its place: a second mount at one path would
// make the API server refuse the pod.
func (d *decision) mounted(c *Container) mountState {
	for _, m := range c.VolumeMounts {
		clean := path.Clean(m.MountPath)
		switch {
		case m.Name == d.volume && clean == MountPath:
			return mounted
		case m.Name == d.volume && strings.HasPrefix(clean, MountPath+"/"):
			return mountedOtherwise
		case clean == MountPath:
			d.warnf("container %q mounts its own volume %q at %s: the token is not mounted there", c.Name, m.Name, MountPath)
			return mountedOtherwise
		}
	}
	return notMounted
}
