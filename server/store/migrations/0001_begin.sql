CREATE TABLE meta (name {text} PRIMARY KEY, value {int} NOT NULL){clustered};
INSERT INTO meta (name, value) VALUES ('schema', 0), ('clock', 0);

CREATE TABLE owner (
	id {id},
	local {text} NOT NULL,
	domain {text} NOT NULL,
	roster_version {int} NOT NULL,
	roster_since {int} NOT NULL,
	roster_size {int} NOT NULL DEFAULT 0,
	offline_count {int} NOT NULL DEFAULT 0,
	offline_bytes {int} NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX owner_address ON owner (domain, local);

CREATE TABLE account (
	owner {int} PRIMARY KEY,
	admin {int} NOT NULL,
	disabled {int} NOT NULL,
	created {int} NOT NULL,
	last_seen {int} NOT NULL
);
CREATE TABLE account_key (
	owner {int} NOT NULL,
	hash {text} NOT NULL,
	salt {bytes} NOT NULL,
	iterations {int} NOT NULL,
	stored_key {bytes} NOT NULL,
	server_key {bytes} NOT NULL,
	PRIMARY KEY (owner, hash)
){clustered};

CREATE TABLE roster (
	owner {int} NOT NULL,
	contact {text} NOT NULL,
	name {text} NOT NULL,
	in_groups {text} NOT NULL,
	sub {int} NOT NULL,
	ask {int} NOT NULL,
	approved {int} NOT NULL,
	request {bytes},
	in_roster {int} NOT NULL,
	removed {int} NOT NULL,
	version {int} NOT NULL,
	PRIMARY KEY (owner, contact)
){clustered};

CREATE TABLE block (
	owner {int} NOT NULL,
	blocked {text} NOT NULL,
	PRIMARY KEY (owner, blocked)
){clustered};

CREATE TABLE offline (
	owner {int} NOT NULL,
	id {int} NOT NULL,
	at {int} NOT NULL,
	raw {bytes} NOT NULL,
	PRIMARY KEY (owner, id)
){clustered};

CREATE TABLE document (
	owner {int} NOT NULL,
	kind {text} NOT NULL,
	name {text} NOT NULL,
	raw {bytes} NOT NULL,
	PRIMARY KEY (owner, kind, name)
);

CREATE TABLE node (
	owner {int} NOT NULL,
	name {text} NOT NULL,
	config {bytes},
	PRIMARY KEY (owner, name)
);
CREATE TABLE item (
	owner {int} NOT NULL,
	node {text} NOT NULL,
	id {text} NOT NULL,
	seq {int} NOT NULL,
	publisher {text} NOT NULL,
	at {int} NOT NULL,
	raw {bytes},
	PRIMARY KEY (owner, node, id)
);
CREATE INDEX item_order ON item (owner, node, seq);

CREATE TABLE invite (
	token {text} PRIMARY KEY,
	domain {text} NOT NULL,
	inviter {text} NOT NULL,
	local {text} NOT NULL,
	account {int} NOT NULL,
	contact {int} NOT NULL,
	created {int} NOT NULL,
	expires {int} NOT NULL,
	uses {int} NOT NULL
);

CREATE TABLE token (
	owner {int} NOT NULL,
	client {text} NOT NULL,
	place {int} NOT NULL,
	mechanism {text} NOT NULL,
	secret {bytes} NOT NULL,
	issued {int} NOT NULL,
	expires {int} NOT NULL,
	counter {int} NOT NULL,
	PRIMARY KEY (owner, client, place)
){clustered};

CREATE TABLE certificate (
	owner {int} NOT NULL,
	name {text} NOT NULL,
	fingerprint {bytes} NOT NULL,
	der {bytes} NOT NULL,
	no_manage {int} NOT NULL,
	added {int} NOT NULL,
	PRIMARY KEY (owner, name)
);
CREATE INDEX certificate_fingerprint ON certificate (fingerprint);

CREATE TABLE message (
	seq {int} NOT NULL PRIMARY KEY,
	at {int} NOT NULL,
	owner {int} NOT NULL,
	owner2 {int},
	raw {bytes} NOT NULL
);
CREATE INDEX message_late ON message (at) WHERE at < seq - 86400000000;
CREATE TABLE archive (
	owner {int} NOT NULL,
	seq {int} NOT NULL,
	at {int} NOT NULL,
	peer {text} NOT NULL,
	resource {text} NOT NULL,
	PRIMARY KEY (owner, seq)
){clustered};
