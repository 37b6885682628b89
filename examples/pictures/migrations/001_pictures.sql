create table pictures (
  id text primary key,
  owner text not null,
  caption text not null,
  type text not null,
  data bytea not null,
  added text not null
);
create index pictures_by_age on pictures (added, id);
