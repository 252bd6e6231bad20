package cloudtest

import (
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/lanyard-id/lanyard/internal/azure"
	"github.com/lanyard-id/lanyard/internal/directory"
	"github.com/lanyard-id/lanyard/internal/rbac"
	"github.com/lanyard-id/lanyard/internal/store"
)

// The tenants and subscriptions that most tests have.
const (
	TenantID            = "11111111-1111-1111-1111-111111111111"
	OtherTenantID       = "11111111-1111-1111-1111-222222222222"
	SubscriptionID      = "22222222-2222-2222-2222-222222222222"
	OtherSubscriptionID = "22222222-2222-2222-2222-333333333333"
)

// people are the tenants of a cloud and who is called by a name in it.
type people struct {
	mu     sync.Mutex
	tenant string // the first
	named  map[string]directory.Principal
}

// Tenant makes a tenant and subscriptions of it. The first one is where those
// belong of whom no test says where.
func (c *Cloud) Tenant(t directory.Tenant, subscriptions ...directory.Subscription) {
	c.TB.Helper()
	c.Update(func(tx *store.Tx) error { return c.Directory.CreateTenant(tx, t) })
	for _, s := range subscriptions {
		s.TenantID = t.ID
		c.Update(func(tx *store.Tx) error { return c.Directory.CreateSubscription(tx, s) })
	}
	c.people.mu.Lock()
	defer c.people.mu.Unlock()
	if c.people.tenant == "" {
		c.people.tenant = t.ID
	}
}

// Call gives a principal a name, by which tests and golden files speak of it:
// its identifiers are "{name.oid}" and "{name.appid}".
func (c *Cloud) Call(name string, p directory.Principal) {
	c.Names.Set(name+".oid", p.ObjectID)
	if p.AppID != "" {
		c.Names.Set(name+".appid", p.AppID)
	}
	c.people.mu.Lock()
	defer c.people.mu.Unlock()
	if c.people.named == nil {
		c.people.named = map[string]directory.Principal{}
	}
	c.people.named[name] = p
}

// Principal gives the principal of a name. Without [Cloud.Call] before it is a
// service principal of the first tenant which the directory does not know, with
// identifiers that are made of the name; a name that is a GUID is its own
// identifiers.
func (c *Cloud) Principal(name string) directory.Principal {
	c.people.mu.Lock()
	p, ok := c.people.named[name]
	tenant := c.people.tenant
	c.people.mu.Unlock()
	switch {
	case ok:
		return p
	case uuid.Validate(name) == nil:
		return directory.Principal{TenantID: tenant, Type: azure.ServicePrincipal, ObjectID: name, AppID: name}
	}
	return directory.Principal{
		TenantID: tenant, Type: azure.ServicePrincipal,
		ObjectID: c.Names.ID(name + ".oid"), AppID: c.Names.ID(name + ".appid"),
	}
}

// Application makes an application with its service principal, which is called
// by the application's name; the application's own object ID is "{name.app}".
func (c *Cloud) Application(tenant, name string, uris ...string) (directory.Application, directory.Principal) {
	c.TB.Helper()
	var app directory.Application
	var p directory.Principal
	c.Update(func(tx *store.Tx) (err error) {
		app, p, err = c.Directory.CreateApplication(tx, tenant, name, uris...)
		return err
	})
	c.Call(name, p)
	c.Names.Set(name+".app", app.ObjectID)
	return app, p
}

// ManagedIdentity makes the principal of a resource, which is called by the
// resource's name: a user-assigned identity's, or another resource's own.
func (c *Cloud) ManagedIdentity(tenant string, resource azure.ResourceID) directory.Principal {
	c.TB.Helper()
	own := !azure.EqualFold(resource.Type(), "Microsoft.ManagedIdentity/userAssignedIdentities")
	return c.called(resource.Name(), func(tx *store.Tx) (directory.Principal, error) {
		return c.Directory.CreateManagedIdentity(tx, tenant, resource, own)
	})
}

// User makes a user in the tenant's default domain, called by the name.
func (c *Cloud) User(tenant, name string) directory.Principal {
	c.TB.Helper()
	t, _ := c.Directory.Tenant(tenant)
	return c.called(name, func(tx *store.Tx) (directory.Principal, error) {
		return c.Directory.CreateUser(tx, tenant, name+"@"+t.DefaultDomain, name)
	})
}

// Group makes a group of principals, each given by its name. It is called by its
// own.
func (c *Cloud) Group(tenant, name string, members ...string) directory.Principal {
	c.TB.Helper()
	group := c.called(name, func(tx *store.Tx) (directory.Principal, error) { return c.Directory.CreateGroup(tx, tenant, name) })
	for _, member := range members {
		id := c.Principal(member).ObjectID
		c.Update(func(tx *store.Tx) error { return c.Directory.AddMember(tx, tenant, group.ObjectID, id) })
	}
	return group
}

func (c *Cloud) called(name string, create func(tx *store.Tx) (directory.Principal, error)) directory.Principal {
	c.TB.Helper()
	var p directory.Principal
	c.Update(func(tx *store.Tx) (err error) {
		p, err = create(tx)
		return err
	})
	c.Call(name, p)
	return p
}

// Assign gives the principal of a name a role by its GUID, in the principal's
// tenant.
func (c *Cloud) Assign(name, role string, scope azure.ResourceID) {
	c.TB.Helper()
	c.AssignIf(name, role, scope, "")
}

// AssignIf gives a role under a condition.
func (c *Cloud) AssignIf(name, role string, scope azure.ResourceID, condition string) {
	c.TB.Helper()
	p := c.Principal(name)
	a := rbac.Assignment{
		Name: uuid.NewString(), TenantID: p.TenantID, Scope: scope, RoleDefinitionID: role,
		PrincipalID: p.ObjectID, PrincipalType: p.Type, Condition: condition,
	}
	if condition != "" {
		a.ConditionVersion = "2.0"
	}
	c.Update(func(tx *store.Tx) error {
		_, _, err := c.Guard.PutAssignment(tx, a)
		return err
	})
}

// Prepare carries out the directives of a golden file's comment, in the first
// tenant, a line each; other lines are for people:
//
//	app NAME                    an application and its service principal
//	identity NAME               a user-assigned identity, in rg1 of SubscriptionID
//	system NAME                 a virtual machine's own identity, likewise
//	user NAME                   a user
//	group NAME MEMBER...        a group of those before it
//	role NAME ROLE SCOPE        NAME has the built-in role that Azure calls ROLE
func (c *Cloud) Prepare(comment string) {
	c.TB.Helper()
	rg1 := azure.ResourceGroupScope(SubscriptionID, "rg1")
	for line := range strings.Lines(comment) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch {
		case words[0] == "app" && len(words) == 2:
			c.Application(c.people.tenant, words[1])
		case words[0] == "identity" && len(words) == 2:
			c.ManagedIdentity(c.people.tenant, rg1.Resource("Microsoft.ManagedIdentity", "userAssignedIdentities", words[1]))
		case words[0] == "system" && len(words) == 2:
			c.ManagedIdentity(c.people.tenant, rg1.Resource("Microsoft.Compute", "virtualMachines", words[1]))
		case words[0] == "user" && len(words) == 2:
			c.User(c.people.tenant, words[1])
		case words[0] == "group":
			c.Group(c.people.tenant, words[1], words[2:]...)
		case words[0] == "role" && len(words) >= 4:
			scope, err := azure.ParseResourceID(c.Names.Fill(words[len(words)-1]))
			Must(c.TB, err)
			c.Assign(words[1], c.role(strings.Join(words[2:len(words)-1], " ")), scope)
		}
	}
}

// role gives the GUID of a built-in role by Azure's name for it.
func (c *Cloud) role(name string) string {
	c.TB.Helper()
	all := rbac.BuiltIns()
	at := slices.IndexFunc(all, func(r rbac.RoleDefinition) bool { return r.RoleName == name })
	if at < 0 {
		c.TB.Fatalf("there is no role %q", name)
	}
	return all[at].ID
}
