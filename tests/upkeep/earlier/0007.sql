BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE audit (
	number INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	last FLOAT NOT NULL, 
	count INTEGER NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	outcome VARCHAR(8) NOT NULL, 
	who VARCHAR(255) NOT NULL, 
	user_id VARCHAR(36), 
	address VARCHAR(64) NOT NULL, 
	protocol VARCHAR(16) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	volume VARCHAR(255), 
	vfid VARCHAR(80), 
	target TEXT NOT NULL, 
	refuser VARCHAR(16), 
	id VARCHAR(16), 
	facts TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (number)
);
INSERT INTO "audit" VALUES(1,1.79530526416959667203e+09,1.79530526416959667203e+09,1,'user_added','done','root',NULL,'unix','cli','eaebefc54f2e92cc',NULL,NULL,'alice',NULL,NULL,'{"administrator": true}');
INSERT INTO "audit" VALUES(2,1795305264.47289,1795305264.47289,1,'password_set','done','root',NULL,'unix','cli','eaebefc54f2e92cc',NULL,NULL,'alice',NULL,NULL,'{}');
INSERT INTO "audit" VALUES(3,1.79530526416374492642e+09,1.79530526416374492642e+09,1,'login','done','root',NULL,'unix','cli','eaebefc54f2e92cc',NULL,NULL,'',NULL,'9e3c17ef1b1d','{"method": "peer"}');
INSERT INTO "audit" VALUES(4,1.79530526580701065061e+09,1.79530526580701065061e+09,1,'user_added','done','root',NULL,'unix','cli','0a919d8f2a4df604',NULL,NULL,'bob',NULL,NULL,'{"administrator": false}');
INSERT INTO "audit" VALUES(5,1.79530526603718781474e+09,1.79530526603718781474e+09,1,'password_set','done','root',NULL,'unix','cli','0a919d8f2a4df604',NULL,NULL,'bob',NULL,NULL,'{}');
INSERT INTO "audit" VALUES(6,1.79530526905554413796e+09,1.79530526905554413796e+09,1,'group_added','done','root',NULL,'unix','cli','3ce505e70b3f3652',NULL,NULL,'staff',NULL,NULL,'{}');
INSERT INTO "audit" VALUES(7,1.79530527212571239473e+09,1.79530527212571239473e+09,1,'vfolder_created','done','root',NULL,'unix','cli','153f42fe10fd9e49','disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed/0d9e39908d7a45598b4ea625b2c7f65d','data',NULL,NULL,'{"owner": "725d3f28-cc4c-4ee4-ac87-1352e1e2caed", "kind": "user"}');
INSERT INTO "audit" VALUES(8,1.79530527444249153132e+09,1.79530527444249153132e+09,1,'grant_added','done','root',NULL,'unix','cli','0e4ca0d2c76b3f58','disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed/0d9e39908d7a45598b4ea625b2c7f65d','data',NULL,NULL,'{"subject_kind": "user", "subject": "bob", "permission": "ro"}');
INSERT INTO "audit" VALUES(9,1.79530527667306613916e+09,1.79530527667306613916e+09,1,'vfolder_created','done','root',NULL,'unix','cli','deaa4d91baadc44b','disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed/2a56f4209ee345c9b1b676eabe32fd7b','gone',NULL,NULL,'{"owner": "725d3f28-cc4c-4ee4-ac87-1352e1e2caed", "kind": "user"}');
INSERT INTO "audit" VALUES(10,1.79530527817254185671e+09,1.79530527817254185671e+09,1,'key_added','done','root',NULL,'unix','cli','cdb54b28f43e3b1f',NULL,NULL,'725d3f28-cc4c-4ee4-ac87-1352e1e2caed',NULL,NULL,'{"kind": "public_key", "label": "alice@laptop"}');
INSERT INTO "audit" VALUES(11,1.79530528004576301571e+09,1.79530528004576301571e+09,1,'key_added','done','root',NULL,'unix','cli','2097df733a2d15be',NULL,NULL,'725d3f28-cc4c-4ee4-ac87-1352e1e2caed',NULL,NULL,'{"kind": "api_key", "label": "api"}');
INSERT INTO "audit" VALUES(12,1.79530528039683485034e+09,1.79530528039683485034e+09,1,'login','done','alice','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','127.0.0.1','client','b3300ebcd7c4983d',NULL,NULL,'',NULL,'fb4a8193e022','{"method": "basic"}');
INSERT INTO "audit" VALUES(13,1.79530528379596066479e+09,1.79530528379596066479e+09,1,'login','done','alice','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','127.0.0.1','webdav','b71f3a264923dcbe',NULL,NULL,'',NULL,'36ff03f684bf','{"method": "basic"}');
CREATE TABLE changes (
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	serial BIGINT NOT NULL, 
	tree BIGINT NOT NULL, 
	lost BIGINT NOT NULL, 
	collection BOOLEAN NOT NULL, 
	at FLOAT NOT NULL, 
	CONSTRAINT pk_changes PRIMARY KEY (vfolder, path), 
	CONSTRAINT fk_changes_vfolder FOREIGN KEY(vfolder) REFERENCES tracked (vfolder) ON DELETE CASCADE
);
CREATE TABLE counters (
	name VARCHAR(64) NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_counters PRIMARY KEY (name)
);
INSERT INTO "counters" VALUES('accounts',7);
INSERT INTO "counters" VALUES('vfolders',6);
INSERT INTO "counters" VALUES('fence',1);
CREATE TABLE creations (
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	principal VARCHAR(64) NOT NULL, 
	created FLOAT NOT NULL, 
	CONSTRAINT pk_creations PRIMARY KEY (vfolder, path), 
	CONSTRAINT fk_creations_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE credentials (
	id VARCHAR(32) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	label VARCHAR(255) NOT NULL, 
	data TEXT NOT NULL, 
	created FLOAT NOT NULL, 
	expires FLOAT, 
	last_used FLOAT, 
	CONSTRAINT pk_credentials PRIMARY KEY (id), 
	CONSTRAINT fk_credentials_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "credentials" VALUES('a33220795251449284f8cb4e00e2c5d4','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','password','','$argon2id$v=19$m=19456,t=2,p=1$nP8mgbuSthJuwFEBI+FWtw$l3rSzdb+O529tKIOwT3Jp/vwiEHrZB3lYXkG+PkU0mo',1.79530526447421383859e+09,NULL,1.79530528036991691587e+09);
INSERT INTO "credentials" VALUES('eb995035c5514d29892cfe582660106d','cbd4b8ab-beee-4245-90ca-11dc4baf22f4','password','','$argon2id$v=19$m=19456,t=2,p=1$auqCDTD9SPgmapgk3pc7Aw$GHOAnWXV2jq8RZT5phtl00zBMzahqoFwFPekg2iYP24',1.7953052660383841991e+09,NULL,NULL);
INSERT INTO "credentials" VALUES('01a640907f664682bc83d177613a1930','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','public_key','alice@laptop','ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILrlkqezb55Mmaa6JWZi0bQKpAa725gNso3BX9LaCZDL',1.79530527817225360864e+09,NULL,NULL);
INSERT INTO "credentials" VALUES('2afde8f173594bec8db172f3e2a56a75','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','api_key','api','a6f03ec1a4d435ebddb539d76e087677198fa8b59a8bbec455e8ee3c927cebb6',1.79530528004550600051e+09,NULL,NULL);
CREATE TABLE crossings (
	subject VARCHAR(512) NOT NULL, 
	resource VARCHAR(8) NOT NULL, 
	level VARCHAR(16) NOT NULL, 
	since FLOAT NOT NULL, 
	CONSTRAINT pk_crossings PRIMARY KEY (subject, resource, level)
);
CREATE TABLE dirty (
	process VARCHAR(64) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	recount BOOLEAN NOT NULL, 
	CONSTRAINT pk_dirty PRIMARY KEY (process, vfolder), 
	CONSTRAINT fk_dirty_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE file_trash (
	id VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	directory BOOLEAN NOT NULL, 
	size BIGINT NOT NULL, 
	principal VARCHAR(64) NOT NULL, 
	deleted_by VARCHAR(255) NOT NULL, 
	deleted FLOAT NOT NULL, 
	purge_at FLOAT NOT NULL, 
	CONSTRAINT pk_file_trash PRIMARY KEY (id), 
	CONSTRAINT fk_file_trash_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE findings (
	number INTEGER NOT NULL, 
	scan VARCHAR(36) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	volume VARCHAR(255) NOT NULL, 
	vfid VARCHAR(80) NOT NULL, 
	detail TEXT NOT NULL, 
	fixed BOOLEAN NOT NULL, 
	CONSTRAINT pk_findings PRIMARY KEY (number), 
	CONSTRAINT fk_findings_scan FOREIGN KEY(scan) REFERENCES scans (id) ON DELETE CASCADE
);
CREATE TABLE grants (
	id VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	subject_kind VARCHAR(16) NOT NULL, 
	subject VARCHAR(36) NOT NULL, 
	permission VARCHAR(8) NOT NULL, 
	created FLOAT NOT NULL, 
	expires FLOAT, source VARCHAR(64), 
	CONSTRAINT pk_grants PRIMARY KEY (id), 
	CONSTRAINT fk_grants_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE, 
	CONSTRAINT uq_grants_vfolder_subject_kind_subject UNIQUE (vfolder, subject_kind, subject)
);
INSERT INTO "grants" VALUES('a30bbd5dc6c4458e8e32c844a4c3fb6d',1,'user','cbd4b8ab-beee-4245-90ca-11dc4baf22f4','ro',1.79530527444248414036e+09,NULL,NULL);
CREATE TABLE groups (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	limit_bytes BIGINT, 
	limit_files BIGINT, 
	created FLOAT NOT NULL, source VARCHAR(64), subject VARCHAR(255), 
	CONSTRAINT pk_groups PRIMARY KEY (id), 
	CONSTRAINT uq_groups_name UNIQUE (name)
);
INSERT INTO "groups" VALUES('9a934996-a217-4f50-aec9-ddaf5e40da64','staff',NULL,NULL,1.79530526905553865432e+09,NULL,NULL);
CREATE TABLE holds (
	holder VARCHAR(64) NOT NULL, 
	subject VARCHAR(512) NOT NULL, 
	process VARCHAR(64) NOT NULL, 
	bytes BIGINT NOT NULL, 
	files BIGINT NOT NULL, 
	recalled BOOLEAN NOT NULL, 
	CONSTRAINT pk_holds PRIMARY KEY (holder, subject)
);
INSERT INTO "holds" VALUES('4a61bc94962444e1acb90332339d6196','vfolder:1','4179e18cdec853828c7ece0423c03da7',1000,1,0);
INSERT INTO "holds" VALUES('4a61bc94962444e1acb90332339d6196','volume:disk','4179e18cdec853828c7ece0423c03da7',1000,1,0);
INSERT INTO "holds" VALUES('4a61bc94962444e1acb90332339d6196','scope:disk/user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed','4179e18cdec853828c7ece0423c03da7',1000,1,0);
INSERT INTO "holds" VALUES('4a61bc94962444e1acb90332339d6196','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed','4179e18cdec853828c7ece0423c03da7',1000,1,0);
CREATE TABLE intents (
	serial INTEGER NOT NULL, 
	intent VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	tree BOOLEAN NOT NULL, 
	process VARCHAR(64) NOT NULL, 
	created FLOAT NOT NULL, 
	CONSTRAINT pk_intents PRIMARY KEY (serial), 
	CONSTRAINT fk_intents_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE invitations (
	id VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	role VARCHAR(8) NOT NULL, 
	keep VARCHAR(8), 
	inviter VARCHAR(36), 
	message TEXT NOT NULL, 
	grant_expires FLOAT, 
	created FLOAT NOT NULL, 
	expires FLOAT NOT NULL, 
	CONSTRAINT pk_invitations PRIMARY KEY (id), 
	CONSTRAINT fk_invitations_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE, 
	CONSTRAINT fk_invitations_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_invitations_vfolder_user_id UNIQUE (vfolder, user_id)
);
CREATE TABLE key_scopes (
	credential VARCHAR(32) NOT NULL, 
	protocols TEXT, 
	vfolders TEXT, 
	permission VARCHAR(8) NOT NULL, 
	CONSTRAINT pk_key_scopes PRIMARY KEY (credential), 
	CONSTRAINT fk_key_scopes_credential FOREIGN KEY(credential) REFERENCES credentials (id) ON DELETE CASCADE
);
CREATE TABLE locks (
	token VARCHAR(64) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	infinite BOOLEAN NOT NULL, 
	"exclusive" BOOLEAN NOT NULL, 
	principal VARCHAR(64) NOT NULL, 
	owner TEXT NOT NULL, 
	fence INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	expires FLOAT, 
	description TEXT NOT NULL, 
	CONSTRAINT pk_locks PRIMARY KEY (token), 
	CONSTRAINT fk_locks_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
INSERT INTO "locks" VALUES('opaquelocktoken:b9251e29-9c86-413d-bd03-0e1b59aed7b2',1,X'66',1,1,'725d3f28-cc4c-4ee4-ac87-1352e1e2caed','alice',1,1.79530528385225534443e+09,1.79539168385225534436e+09,'');
CREATE TABLE login_failures (
	subject VARCHAR(400) NOT NULL, 
	failures INTEGER NOT NULL, 
	last FLOAT NOT NULL, 
	until FLOAT NOT NULL, 
	CONSTRAINT pk_login_failures PRIMARY KEY (subject)
);
CREATE TABLE login_places (
	name VARCHAR(255) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	last FLOAT NOT NULL, 
	CONSTRAINT pk_login_places PRIMARY KEY (name, address)
);
INSERT INTO "login_places" VALUES('alice','127.0.0.1',1.79530528039672565457e+09);
CREATE TABLE members (
	group_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	administrator BOOLEAN NOT NULL, 
	CONSTRAINT pk_members PRIMARY KEY (group_id, user_id), 
	CONSTRAINT fk_members_group_id FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_members_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE processes (
	id VARCHAR(64) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	boot_id VARCHAR(64) NOT NULL, 
	birth BIGINT NOT NULL, 
	started FLOAT NOT NULL, 
	heartbeat BIGINT NOT NULL, 
	CONSTRAINT pk_processes PRIMARY KEY (id)
);
CREATE TABLE properties (
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	name VARCHAR(1024) NOT NULL, 
	parent BLOB, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_properties PRIMARY KEY (vfolder, path, name), 
	CONSTRAINT fk_properties_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE recovery_codes (
	user_id VARCHAR(36) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_recovery_codes PRIMARY KEY (user_id, digest), 
	CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE scans (
	id VARCHAR(36) NOT NULL, 
	volume VARCHAR(255), 
	vfid VARCHAR(80), 
	fix BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	finished FLOAT, 
	cursor BIGINT NOT NULL, 
	checked_vfolders BIGINT NOT NULL, 
	checked_bytes BIGINT NOT NULL, 
	checked_files BIGINT NOT NULL, 
	CONSTRAINT pk_scans PRIMARY KEY (id)
);
CREATE TABLE scopes (
	volume VARCHAR(255) NOT NULL, 
	scope VARCHAR(64) NOT NULL, 
	limit_bytes BIGINT, 
	limit_files BIGINT, 
	created FLOAT NOT NULL, 
	CONSTRAINT pk_scopes PRIMARY KEY (volume, scope)
);
INSERT INTO "scopes" VALUES('disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed',NULL,NULL,1.7953052721127419471e+09);
CREATE TABLE second_factors (
	user_id VARCHAR(36) NOT NULL, 
	secret VARCHAR(64) NOT NULL, 
	created FLOAT NOT NULL, 
	confirmed FLOAT, 
	last_step BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_second_factors PRIMARY KEY (user_id), 
	CONSTRAINT fk_second_factors_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE share_links (
	id VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	path BLOB NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	password TEXT, 
	label VARCHAR(255) NOT NULL, 
	creator VARCHAR(36), 
	created FLOAT NOT NULL, 
	expires FLOAT, 
	most_uses INTEGER, 
	uses INTEGER NOT NULL, 
	CONSTRAINT pk_share_links PRIMARY KEY (id), 
	CONSTRAINT fk_share_links_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE, 
	CONSTRAINT uq_share_links_digest UNIQUE (digest)
);
CREATE TABLE shown_names (
	user_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	base VARCHAR(255) NOT NULL, 
	CONSTRAINT pk_shown_names PRIMARY KEY (user_id, name), 
	CONSTRAINT fk_shown_names_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
INSERT INTO "shown_names" VALUES('725d3f28-cc4c-4ee4-ac87-1352e1e2caed','data',1,'data');
INSERT INTO "shown_names" VALUES('725d3f28-cc4c-4ee4-ac87-1352e1e2caed','gone',2,'gone');
CREATE TABLE soft_limits (
	subject VARCHAR(512) NOT NULL, 
	bytes BIGINT, 
	files BIGINT, 
	grace FLOAT NOT NULL, 
	CONSTRAINT pk_soft_limits PRIMARY KEY (subject)
);
CREATE TABLE state (
	owner VARCHAR(255) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	value BLOB NOT NULL, 
	CONSTRAINT pk_state PRIMARY KEY (owner, "key")
);
CREATE TABLE tasks (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	arguments TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	cancelling BOOLEAN NOT NULL, 
	message TEXT NOT NULL, 
	done BIGINT NOT NULL, 
	total BIGINT NOT NULL, 
	attempt INTEGER NOT NULL, 
	process VARCHAR(64), 
	created FLOAT NOT NULL, 
	not_before FLOAT, 
	started FLOAT, 
	finished FLOAT, request_id VARCHAR(64) DEFAULT '' NOT NULL, who VARCHAR(255) DEFAULT '' NOT NULL, 
	CONSTRAINT pk_tasks PRIMARY KEY (id)
);
CREATE TABLE tracked (
	vfolder INTEGER NOT NULL, 
	epoch VARCHAR(32) NOT NULL, 
	serial BIGINT NOT NULL, 
	floor BIGINT NOT NULL, 
	asked FLOAT NOT NULL, 
	CONSTRAINT pk_tracked PRIMARY KEY (vfolder), 
	CONSTRAINT fk_tracked_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
CREATE TABLE uploads (
	id VARCHAR(32) NOT NULL, 
	vfolder INTEGER NOT NULL, 
	principal VARCHAR(64), 
	target BLOB NOT NULL, 
	size BIGINT, 
	mark BIGINT NOT NULL, 
	boot_id VARCHAR(64) NOT NULL, 
	unverified BOOLEAN NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	info TEXT NOT NULL, 
	expected TEXT, 
	fence BIGINT NOT NULL, 
	lifetime FLOAT NOT NULL, 
	created FLOAT NOT NULL, 
	expires FLOAT NOT NULL, 
	process VARCHAR(64), 
	holder VARCHAR(64), 
	holder_serial BIGINT NOT NULL, 
	holder_until FLOAT, 
	asked BIGINT NOT NULL, 
	CONSTRAINT pk_uploads PRIMARY KEY (id), 
	CONSTRAINT fk_uploads_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
INSERT INTO "uploads" VALUES('4a61bc94962444e1acb90332339d6196',1,NULL,X'68616C66',1000,0,'c22c1855-63e0-470c-81de-d31fad802bca',0,'open','{}',NULL,0,86400.0,1.79530528624468922616e+09,1.79539168624468922609e+09,NULL,NULL,0,NULL,0);
CREATE TABLE usage (
	subject VARCHAR(512) NOT NULL, 
	bytes BIGINT NOT NULL, 
	files BIGINT NOT NULL, 
	CONSTRAINT pk_usage PRIMARY KEY (subject)
);
INSERT INTO "usage" VALUES('scope:disk/user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed',1000,1);
INSERT INTO "usage" VALUES('user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed',1000,1);
INSERT INTO "usage" VALUES('vfolder:1',1000,1);
INSERT INTO "usage" VALUES('volume:disk',1000,1);
CREATE TABLE users (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	email VARCHAR(255), 
	administrator BOOLEAN NOT NULL, 
	active BOOLEAN NOT NULL, 
	uid BIGINT, 
	gid BIGINT, 
	limit_bytes BIGINT, 
	limit_files BIGINT, 
	created FLOAT NOT NULL, 
	expires FLOAT, source VARCHAR(64), subject VARCHAR(255), revision BIGINT DEFAULT '0' NOT NULL, vouched FLOAT, withdrawn BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name UNIQUE (name)
);
INSERT INTO "users" VALUES('725d3f28-cc4c-4ee4-ac87-1352e1e2caed','alice',NULL,1,1,NULL,NULL,NULL,NULL,1.79530526416959166531e+09,NULL,NULL,NULL,0,NULL,0);
INSERT INTO "users" VALUES('cbd4b8ab-beee-4245-90ca-11dc4baf22f4','bob',NULL,0,1,NULL,NULL,NULL,NULL,1.79530526580700564389e+09,NULL,NULL,NULL,0,NULL,0);
CREATE TABLE vfolder_trash (
	vfolder INTEGER NOT NULL, 
	name VARCHAR(255), 
	deleted_by VARCHAR(255) NOT NULL, 
	deleted FLOAT NOT NULL, 
	purge_at FLOAT NOT NULL, 
	CONSTRAINT pk_vfolder_trash PRIMARY KEY (vfolder), 
	CONSTRAINT fk_vfolder_trash_vfolder FOREIGN KEY(vfolder) REFERENCES vfolders ("key") ON DELETE CASCADE
);
INSERT INTO "vfolder_trash" VALUES(2,'gone','root',1.79530528311706447596e+09,1.79591008311706447604e+09);
CREATE TABLE vfolders (
	"key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	volume VARCHAR(255) NOT NULL, 
	vfid VARCHAR(128) NOT NULL, 
	folder VARCHAR(32) NOT NULL, 
	scope VARCHAR(64), 
	name VARCHAR(255), 
	kind VARCHAR(16) NOT NULL, 
	owner VARCHAR(36), 
	status VARCHAR(16) NOT NULL, 
	limit_bytes BIGINT, 
	limit_files BIGINT, 
	created FLOAT NOT NULL, 
	expires FLOAT, read_only BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT uq_vfolders_owner_name UNIQUE (owner, name), 
	CONSTRAINT uq_vfolders_volume_vfid UNIQUE (volume, vfid)
);
INSERT INTO "vfolders" VALUES(1,'disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed/0d9e39908d7a45598b4ea625b2c7f65d','0d9e39908d7a45598b4ea625b2c7f65d','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed','data','user','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','ready',1048576,NULL,1.79530527212570357323e+09,NULL,0);
INSERT INTO "vfolders" VALUES(2,'disk','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed/2a56f4209ee345c9b1b676eabe32fd7b','2a56f4209ee345c9b1b676eabe32fd7b','user:725d3f28-cc4c-4ee4-ac87-1352e1e2caed',NULL,'user','725d3f28-cc4c-4ee4-ac87-1352e1e2caed','trashed',NULL,NULL,1.79530527667305850984e+09,NULL,0);
CREATE TABLE volume_limits (
	volume VARCHAR(255) NOT NULL, 
	limit_bytes BIGINT, 
	limit_files BIGINT, 
	CONSTRAINT pk_volume_limits PRIMARY KEY (volume)
);
CREATE TABLE web_sessions (
	digest VARCHAR(64) NOT NULL, 
	id VARCHAR(32) NOT NULL, 
	user_id VARCHAR(36) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	agent VARCHAR(255) NOT NULL, 
	created FLOAT NOT NULL, 
	used FLOAT NOT NULL, 
	expires FLOAT NOT NULL, 
	CONSTRAINT pk_web_sessions PRIMARY KEY (digest), 
	CONSTRAINT fk_web_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_web_sessions_id UNIQUE (id)
);
CREATE INDEX ix_holds_subject ON holds (subject);
CREATE INDEX ix_tasks_state ON tasks (state);
CREATE INDEX ix_vfolders_folder ON vfolders (folder);
CREATE INDEX ix_vfolders_owner ON vfolders (owner);
CREATE INDEX ix_vfolders_scope ON vfolders (scope);
CREATE INDEX ix_creations_created ON creations (created);
CREATE INDEX ix_credentials_kind_data ON credentials (kind, data);
CREATE INDEX ix_credentials_user_id ON credentials (user_id);
CREATE INDEX ix_dirty_vfolder ON dirty (vfolder);
CREATE INDEX ix_grants_subject ON grants (subject);
CREATE INDEX ix_grants_vfolder ON grants (vfolder);
CREATE INDEX ix_intents_intent ON intents (intent);
CREATE INDEX ix_intents_process ON intents (process);
CREATE INDEX ix_intents_vfolder ON intents (vfolder);
CREATE INDEX ix_locks_vfolder ON locks (vfolder);
CREATE INDEX ix_locks_vfolder_path ON locks (vfolder, path);
CREATE INDEX ix_properties_vfolder_parent ON properties (vfolder, parent);
CREATE INDEX ix_shown_names_vfolder ON shown_names (vfolder);
CREATE INDEX ix_uploads_expires ON uploads (expires);
CREATE INDEX ix_uploads_vfolder ON uploads (vfolder);
CREATE INDEX ix_changes_vfolder_serial ON changes (vfolder, serial);
CREATE UNIQUE INDEX uq_users_source_subject ON users (source, subject);
CREATE UNIQUE INDEX uq_groups_source_subject ON groups (source, subject);
CREATE INDEX ix_findings_scan ON findings (scan);
CREATE INDEX ix_invitations_vfolder ON invitations (vfolder);
CREATE INDEX ix_invitations_user_id ON invitations (user_id);
CREATE INDEX ix_invitations_expires ON invitations (expires);
CREATE INDEX ix_vfolder_trash_purge_at ON vfolder_trash (purge_at);
CREATE INDEX ix_file_trash_vfolder ON file_trash (vfolder);
CREATE INDEX ix_file_trash_purge_at ON file_trash (purge_at);
CREATE INDEX ix_share_links_vfolder ON share_links (vfolder);
CREATE INDEX ix_share_links_creator ON share_links (creator);
CREATE INDEX ix_share_links_expires ON share_links (expires);
CREATE INDEX ix_web_sessions_user_id ON web_sessions (user_id);
CREATE INDEX ix_web_sessions_expires ON web_sessions (expires);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_id ON audit (id);
CREATE INDEX ix_audit_who ON audit (who, number);
CREATE INDEX ix_login_failures_last ON login_failures (last);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('vfolders',2);
COMMIT;
