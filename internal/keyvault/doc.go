// Package keyvault is the Key Vault data plane: secrets, their versions and
// attributes, soft delete, recovery, purge, backup and restore, behind the
// vault's own host name.
//
// It owns the contents of vaults (everything in the store under "keyvault/"),
// the challenge that leads a client to the token service, the check of each
// request against the vault's firewall and then against role assignments or
// access policies, and Key Vault's error document.
//
// It must not know how a vault is made or deleted: that a vault exists, and
// with which settings, is told by [Vaults]; and it never imports the Resource
// Manager or the token service. A value leaves the package only in an answer to
// a caller who was allowed to read it, or inside a sealed backup.
//
// # Contents
//
// A vault's keys begin with its folded name and its instance, a random
// identifier that the vault's resource gets when it is created: a vault that is
// made again under a purged one's name has another, and can never meet a secret
// of the first, not even one that a late replica was still writing.
//
//	keyvault/{vault}/{instance}/secrets/{name}                     a live secret
//	keyvault/{vault}/{instance}/deletedsecrets/{name}              a deleted, recoverable one
//	keyvault/{vault}/{instance}/versions/{name}/{life}/{version}   attributes of a version
//	keyvault/{vault}/{instance}/values/{name}/{life}/{version}     its value, sealed
//	keyvault-schedule/{time}/{vault}/{instance}/{name}/{life}      what is to be removed when
//	keyvault-backup/key                                            seals backups, itself sealed
//
// A secret has a record in exactly one of the first two places, or in none. The
// record names the secret's life, which is to a secret what the instance is to a
// vault: a random identifier made when the name is first used and again after a
// purge. Versions and values lie below it, so that purging is one small
// transaction (the record goes, and with it every way to the values) however
// many versions there are, the removal of the values follows in batches and can
// be resumed, and a new secret of the same name can never meet an old value.
package keyvault
