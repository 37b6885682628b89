create table notes (
  id text primary key,
  owner text not null,
  body text not null
);
create index notes_of on notes (owner, id);
